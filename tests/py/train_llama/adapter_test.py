"""What trains is PEFT's own adapter: saved, dropped out and rounded as PEFT would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bullion.models.adapter import load_adapter_tensors
from bullion.models.lora import adapter_tensors, save_adapter
from bullion.train.llama import LlamaStepper
from bullion.train.llama.linear import Dropout
from torch import nn

from .conftest import (
    CPU,
    gradients,
    pack,
    record,
    records,
    separate_passes,
    spec,
    trained_tokens,
    tuned,
    worst,
)


def test_the_trained_parameters_are_the_ones_that_peft_saves(tmp_path: Path) -> None:
    model = tuned()
    stepper = LlamaStepper(model, spec(), CPU)
    optimizer = torch.optim.AdamW([p for _, p in stepper.trainable()], lr=1e-2)
    before = {n: t.clone() for n, t in adapter_tensors(model).items()}
    gradients(stepper, [pack(records(3))])
    optimizer.step()
    save_adapter(model, tmp_path, "base")
    saved = load_adapter_tensors(tmp_path)
    assert saved.keys() == before.keys()
    assert all(not torch.equal(saved[n], before[n]) for n in saved)
    trained = {n.replace(".default", ""): p for n, p in stepper.trainable()}
    assert all(torch.equal(saved[n], trained[n]) for n in saved)


def test_trainable_keeps_the_names_and_order_of_the_model() -> None:
    model = tuned()
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    assert [n for n, _ in LlamaStepper(model, spec(), CPU).trainable()] == names


def test_dropping_a_gradient_instead_of_zeroing_it_is_said() -> None:
    stepper = LlamaStepper(tuned(), spec(), CPU)
    stepper.trainable()[3][1].grad = None
    with pytest.raises(AssertionError, match="zeroed in place"):
        stepper.accumulate(pack(records(2)), 10)


def test_bf16_adapters_get_rounded_gradients_that_add_up() -> None:
    model = tuned()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    stepper = LlamaStepper(model, spec(), CPU)
    _, once = gradients(stepper, [pack(records(3))])
    assert all(g.dtype == torch.bfloat16 for g in once.values())
    stepper.accumulate(pack(records(3)), trained_tokens([pack(records(3))]))
    twice = {n: p.grad.float() for n, p in stepper.trainable()}
    assert worst(twice, {n: 2 * g.float() for n, g in once.items()}) < 1e-2
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            parameter.grad = None
    _, exact = separate_passes(model, records(3))
    assert worst({n: g.float() for n, g in once.items()}, exact) < 1e-2


class SameMask(nn.Module):
    """Stands in PEFT's place of dropout and draws the masks of the step."""

    def __init__(self, drop: Dropout, layer: int, group: object, slot: object) -> None:
        super().__init__()
        self.arguments = drop, layer, group, slot

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        drop, layer, group, slot = self.arguments
        drop.layer = layer
        return drop.apply(x[0], group, slot)[None]  # type: ignore[arg-type]


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_with_dropout_the_gradients_are_those_of_the_drawn_masks(recompute: str) -> None:
    model, one = tuned(lora={"lora_dropout": 0.3}), record(0, 5, 20)
    stepper = LlamaStepper(model, spec(), CPU, recompute)  # type: ignore[arg-type]
    torch.manual_seed(5)
    loss, found = gradients(stepper, [pack([one])])
    torch.manual_seed(5)
    drop = Dropout(int(torch.randint(0, 2**62, (), dtype=torch.int64)), CPU)
    owners = {m.lora_A["default"].weight: m for m in model.modules() if hasattr(m, "lora_A")}
    for index, block in enumerate(stepper._blocks):
        for group in block.groups:
            for slot in group.slots:
                mask = SameMask(drop, index, group, slot)
                owners[slot.a].lora_dropout["default"] = mask
    expected_loss, expected = separate_passes(model, [one])
    assert abs(loss - expected_loss) < 1e-5
    assert worst(found, expected) < 1e-5


def test_dropout_repeats_by_seed_and_differs_between_steps() -> None:
    stepper = LlamaStepper(tuned(lora={"lora_dropout": 0.1}), spec(), CPU)
    torch.manual_seed(3)
    first, second = (gradients(stepper, [pack(records(3))])[0] for _ in range(2))
    torch.manual_seed(3)
    assert gradients(stepper, [pack(records(3))])[0] == first != second


def test_masks_keep_their_share_and_the_expectation() -> None:
    stepper = LlamaStepper(tuned(lora={"lora_dropout": 0.25}), spec(), CPU)
    group = stepper._blocks[0].qkv
    drawn = Dropout(1, CPU).apply(torch.ones(4000, 48), group, group.slots[0])
    assert abs(drawn.mean().item() - 1) < 0.01
    assert abs((drawn == 0).float().mean().item() - 0.25) < 0.01
    other = Dropout(1, CPU).apply(torch.ones(4000, 48), group, group.slots[1])
    assert abs(((drawn == 0) & (other == 0)).float().mean().item() - 0.0625) < 0.01


def test_evaluation_draws_no_masks() -> None:
    stepper = LlamaStepper(tuned(lora={"lora_dropout": 0.5}), spec(), CPU)
    first, _ = stepper.evaluate(pack(records(3)))
    again, _ = stepper.evaluate(pack(records(3)))
    assert torch.equal(first, again)
