"""The general step on many architectures: gradients and losses of separate Transformers passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.recipe import LoraSpec
from bullion.data.packing import join
from bullion.data.supervise import IGNORED, Example
from bullion.models import lora
from bullion.models.load import load_base
from bullion.train.general import GeneralStepper
from small_jobs import plain_spec, write_tiny

CPU = torch.device("cpu")
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], bool]] = {
    # name → (model type, changes to the configuration, records share a pass)
    "llama": ("llama", {}, True),
    "llama with 3.1's rope": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 5e5,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
        True,
    ),
    "qwen2": ("qwen2", {}, True),
    "qwen3": ("qwen3", {}, True),
    "mistral with a window of 6": ("mistral", {"sliding_window": 6}, True),
    "gemma2 with capped scores": ("gemma2", {"query_pre_attn_scalar": 8}, False),
    "lfm2, whose convolutions look over a record's edge": (
        "lfm2",
        {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
        False,
    ),
    "granite with scaled logits": ("granite", {"logits_scaling": 3.0}, True),
}


def random_examples(lengths: list[int], vocabulary: int) -> list[Example]:
    generator = torch.Generator().manual_seed(3)
    examples = []
    for i, length in enumerate(lengths):
        ids = torch.randint(0, vocabulary, (length,), generator=generator).tolist()
        examples.append(Example(i, ids, [IGNORED] * (length // 3) + ids[length // 3 :]))
    return examples


def tuned(base: Path, settings: LoraSpec) -> Any:
    spec = plain_spec(base, base, [])
    model = lora.attach(load_base(spec.model, torch.float32, CPU).model, settings, 42)
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1, generator=generator)
    return model


def by_transformers(model: Any, examples: list[Example]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss share and gradients of separate plain passes."""
    divisor = sum(example.trained_tokens for example in examples)
    total = 0.0
    for example in examples:
        ids = torch.tensor([example.input_ids])
        labels = torch.tensor(example.labels[1:], dtype=torch.int64)
        logits = model(input_ids=ids).logits[0, :-1].float()
        loss = torch.nn.functional.cross_entropy(
            logits, labels, ignore_index=IGNORED, reduction="sum"
        )
        (loss / divisor).backward()
        total += loss.item() / divisor
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return total, gradients


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("recompute", ["none", "full"])
def test_a_pack_has_the_loss_and_gradients_of_separate_passes(
    tmp_path: Path, name: str, recompute: Any
) -> None:
    kind, changes, shared = ARCHITECTURES[name]
    base = write_tiny(tmp_path / "base", kind, initializer_range=0.2, **changes)
    model = tuned(base, plain_spec(base, base, []).lora)
    examples = random_examples([9, 1, 17, 5], 250)
    loss, gradients = by_transformers(model.eval(), examples)
    stepper = GeneralStepper(model, plain_spec(base, base, []), CPU, recompute)
    assert stepper.packs_records is shared
    divisor = sum(example.trained_tokens for example in examples)
    ours = stepper.accumulate(join(examples), divisor)
    assert ours.item() == pytest.approx(loss, rel=1e-5)
    for key, parameter in stepper.trainable():
        assert parameter.grad is not None, key
        difference = (parameter.grad - gradients[key]).norm() / gradients[key].norm()
        assert difference < 1e-5, (key, difference)
    sums, right = stepper.evaluate(join(examples))
    assert sums.item() / divisor == pytest.approx(loss, rel=1e-4)
    assert 0 <= right.item() <= divisor


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"additional_target": ["embed_tokens", "lm_head"]},
        {"target": ["q_proj", "lm_head"]},
    ],
    ids=str,
)
def test_methods_have_the_gradients_of_separate_passes(
    tiny: Path, settings: dict[str, Any]
) -> None:
    spec = plain_spec(tiny, tiny, [])
    model = tuned(tiny, replace(spec.lora, **settings))
    examples = random_examples([9, 6, 17], 250)
    loss, gradients = by_transformers(model.eval(), examples)
    stepper = GeneralStepper(model, spec, CPU, "none")
    ours = stepper.accumulate(join(examples), sum(e.trained_tokens for e in examples))
    assert ours.item() == pytest.approx(loss, rel=1e-5)
    assert {key for key, _ in stepper.trainable()} == set(gradients)
    for key, parameter in stepper.trainable():
        assert parameter.grad is not None, key
        difference = (parameter.grad - gradients[key]).norm() / gradients[key].norm()
        assert difference < 1e-5, (key, difference)


def test_a_pack_without_a_trained_token_adds_nothing(tiny: Path) -> None:
    spec = plain_spec(tiny, tiny, [])
    stepper = GeneralStepper(tuned(tiny, spec.lora), spec, CPU, "none")
    loss = stepper.accumulate(join([Example(0, [1, 2, 3], [IGNORED] * 3)]), 1)
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for _, p in stepper.trainable())


def test_noise_of_neftune_is_drawn_for_every_record_and_only_while_training(tiny: Path) -> None:
    spec = plain_spec(tiny, tiny, [])
    noisy = replace(spec, optimizer=replace(spec.optimizer, neftune_noise_alpha=5.0))
    stepper = GeneralStepper(tuned(tiny, spec.lora), noisy, CPU, "none")
    pack = join(random_examples([16, 4], 250))
    plain = [stepper.evaluate(pack)[0].item() for _ in range(2)]
    assert plain[0] == plain[1]
    losses = [stepper.accumulate(pack, 1).item() for _ in range(2)]
    assert losses[0] != losses[1]
    torch.manual_seed(1)
    first = stepper.accumulate(pack, 1).item()
    torch.manual_seed(1)
    assert stepper.accumulate(pack, 1).item() == first
    seen = []
    embedding = stepper.base.get_input_embeddings()
    embedding.register_forward_hook(lambda _m, i, o: seen.append(o - embedding.weight[i[0]]))
    stepper.accumulate(pack, 1)
    reach = 5.0 / (torch.tensor([16.0, 4.0]) * 32).sqrt()
    parts = seen[0][0].split([16, 4])
    for part, most in zip(parts, reach, strict=True):
        assert 0.8 * most < part.abs().max() <= most * 1.0001
