"""The packed step has the loss and the gradients of separate passes of Transformers and PEFT."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bullion.data.supervise import IGNORED, Example
from bullion.train.llama import LlamaStepper, obstacle

from .conftest import CPU, gradients, pack, record, records, separate_passes, spec, tuned, worst

LLAMA_3_1 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
}  # fmt: skip


def assert_exact(model: Any, examples: list[Example], recompute: Any = "none") -> None:
    loss, expected = separate_passes(model, examples)
    assert obstacle(model, spec(), CPU) is None
    stepper = LlamaStepper(model, spec(), CPU, recompute)
    found_loss, found = gradients(stepper, [pack(examples)])
    assert abs(found_loss - loss) < 1e-5 * abs(loss)
    assert worst(found, expected) < 1e-5


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_a_packed_step_equals_separate_passes(recompute: Any) -> None:
    assert_exact(tuned(), records(), recompute)


@pytest.mark.parametrize("lengths", [(30, 9, 21), (300, 7, 290), (3, 120, 2, 5)], ids=str)
def test_records_of_all_lengths_are_exact(lengths: tuple[int, ...]) -> None:
    assert_exact(tuned(), [record(i, 1 + n // 3, n - n // 3) for i, n in enumerate(lengths)])


@pytest.mark.parametrize("count", [1, 3])
def test_a_step_with_fewer_records_is_exact(count: int) -> None:
    assert_exact(tuned(), records(count))


def test_a_record_without_a_trained_token_adds_nothing() -> None:
    examples = records(4)
    examples[1] = Example(1, examples[1].input_ids, [IGNORED] * len(examples[1]))
    assert_exact(tuned(), examples)


def test_a_pack_without_a_trained_token_adds_nothing_and_costs_zero() -> None:
    stepper = LlamaStepper(tuned(), spec(), CPU)
    example = record(0, 9, 0)
    assert stepper.accumulate(pack([example]), 5).item() == 0.0
    assert all(not p.grad.any() for _, p in stepper.trainable())


def test_trained_prompts_do_not_cross_the_border_of_a_record() -> None:
    assert_exact(tuned(), [Example(e.index, e.input_ids, e.input_ids) for e in records(5)])


def test_a_record_of_one_token_is_harmless() -> None:
    assert_exact(tuned(), [record(0, 4, 6), record(1, 1, 0), record(2, 3, 9)])


@pytest.mark.parametrize(
    "targets",
    [["q_proj", "v_proj"], ["k_proj", "down_proj"], ["gate_proj", "o_proj"], ["up_proj"]],
    ids="+".join,
)
def test_any_subset_of_layers_may_be_adapted(targets: list[str]) -> None:
    assert_exact(tuned(targets), records(4))


@pytest.mark.parametrize(
    "changes",
    [
        {"lora": {"use_rslora": True}, "rank": 3},
        {"rope_parameters": LLAMA_3_1},
        {"tie_word_embeddings": True},
        {"num_key_value_heads": 6, "head_dim": 16},
    ],
    ids=["rslora", "llama3 rope", "tied", "no sharing of heads"],
)
def test_the_family_and_its_adapters_are_exact(changes: dict[str, Any]) -> None:
    assert_exact(tuned(**changes), records(4))


def test_micro_packs_add_up_to_the_step() -> None:
    model, examples = tuned(), records()
    loss, expected = separate_passes(model, examples)
    parts = [pack(examples[:1]), pack(examples[1:6]), pack(examples[6:])]
    found_loss, found = gradients(LlamaStepper(model, spec(), CPU), parts)
    assert abs(found_loss - loss) < 1e-5
    assert worst(found, expected) < 1e-5


def test_a_step_repeats_to_the_bit_also_after_larger_and_smaller_packs() -> None:
    stepper = LlamaStepper(tuned(), spec(), CPU)
    examples = records()
    first = gradients(stepper, [pack(examples)])
    gradients(stepper, [pack([record(40, 100, 300)])])
    gradients(stepper, [pack(examples[:1])])
    again = gradients(stepper, [pack(examples)])
    assert first[0] == again[0]
    assert all(torch.equal(first[1][n], again[1][n]) for n in first[1])


def test_the_optimiser_moves_the_weights_that_the_next_step_uses() -> None:
    model, examples = tuned(), records(4)
    stepper = LlamaStepper(model, spec(), CPU)
    gradients(stepper, [pack(examples)])
    torch.optim.AdamW([p for _, p in stepper.trainable()], lr=1e-2).step()
    loss, _ = gradients(stepper, [pack(examples)])
    moved = {n: p.detach().clone() for n, p in stepper.trainable()}
    other = tuned()
    for name, parameter in other.named_parameters():
        if name in moved:
            parameter.data.copy_(moved[name])
    assert abs(loss - separate_passes(other, examples)[0]) < 1e-5


def test_evaluation_counts_loss_and_hits_as_separate_passes_do() -> None:
    model, examples = tuned(), records(5)
    expected, hits = 0.0, 0
    with torch.no_grad():
        for example in examples:
            logits = model(input_ids=torch.tensor([example.input_ids])).logits[0, :-1]
            labels = torch.tensor(example.labels[1:], dtype=torch.int64)
            expected += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            hits += int((logits.argmax(-1) == labels).sum())
    loss, right = LlamaStepper(model, spec(), CPU).evaluate(pack(examples))
    assert abs(loss.item() - expected) < 1e-4 * expected
    assert int(right) == hits


def test_the_wrapped_model_still_computes_the_same_after_its_weights_were_taken_over() -> None:
    model, ids = tuned(), torch.tensor([record(0, 5, 9).input_ids])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        LlamaStepper(model, spec(), CPU)
        after = model(input_ids=ids).logits
    assert torch.allclose(before, after, atol=1e-6)
