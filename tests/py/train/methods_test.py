"""Methods over whole jobs: each trains, leaves an adapter that PEFT opens, and does what its name says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.recipe import PrecisionSpec, QuantizationSpec, TrainSpec
from bullion.train.optimizer import Optimizer, groups
from peft import PeftModel
from safetensors.torch import load_file
from small_jobs import of_type, run, write_records, write_tiny
from transformers import AutoModelForCausalLM


def changed(spec: TrainSpec, part: str, **changes: Any) -> TrainSpec:
    return replace(spec, **{part: replace(getattr(spec, part), **changes)})


def losses(spec: TrainSpec) -> list[float]:
    return [event.loss for event in of_type(run(spec), "progress")]


def stepper_of(spec: TrainSpec) -> str:
    events = run(changed(spec, "length", max_steps=1))
    return next(e.data["path"] for e in events if getattr(e, "code", "") == "stepper")


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("lora", {"use_dora": True}),
        ("lora", {"use_rslora": True}),
        ("lora", {"pissa_init": True}),
        ("lora", {"plus_lr_ratio": 4.0}),
        ("lora", {"dropout": 0.1}),
        ("lora", {"target": ["q_proj", "v_proj"]}),
        ("lora", {"additional_target": ["lm_head"]}),
        ("optimizer", {"neftune_noise_alpha": 5.0}),
        ("optimizer", {"max_grad_norm": 0.0}),
        ("optimizer", {"name": "adafactor"}),
        ("optimizer", {"name": "sgd", "learning_rate": 3.0}),
        ("data", {"train_on_prompt": True}),
        ("data", {"mask_history": True}),
        ("data", {"packing": True, "neat_packing": True, "cutoff_len": 200}),
        ("precision", {"pure_bf16": True}),
    ],
    ids=str,
)
def test_a_job_with_it_learns_and_its_adapter_opens_in_peft(
    quick: TrainSpec, part: str, changes: dict[str, Any]
) -> None:
    spec = changed(quick, part, **changes)
    curve = losses(spec)
    assert curve[-1] < curve[0] - 0.02
    model = AutoModelForCausalLM.from_pretrained(spec.model.path)
    opened = PeftModel.from_pretrained(model, spec.output_dir).eval()
    ids = torch.arange(40)[None]
    with torch.no_grad(), opened.disable_adapter():
        before = opened(input_ids=ids).logits
    with torch.no_grad():
        after = opened(input_ids=ids).logits
    assert (after - before).abs().max() > 1e-3


def test_dropout_is_repeatable_by_seed_and_differs_between_seeds(
    quick: TrainSpec, tmp_path: Path
) -> None:
    spec = changed(quick, "lora", dropout=0.3)
    one = losses(spec)
    assert losses(replace(spec, output_dir=str(tmp_path / "again"))) == one
    assert losses(replace(spec, seed=43, output_dir=str(tmp_path / "other"))) != one


def test_lora_plus_moves_b_faster_and_a_as_fast_as_without(
    quick: TrainSpec, tmp_path: Path
) -> None:
    """Adam's first real step is its learning rate in every element with a gradient."""
    moved = {}
    for ratio in (None, 4.0):
        spec = changed(changed(quick, "lora", plus_lr_ratio=ratio), "length", max_steps=1)
        spec = replace(
            spec,
            output_dir=str(tmp_path / str(ratio)),
            schedule=replace(spec.schedule, type="constant"),
        )
        run(spec)
        tensors = load_file(Path(spec.output_dir) / "adapter_model.safetensors")
        moved[ratio] = max(t.abs().max().item() for n, t in tensors.items() if "lora_B" in n)
    assert moved[None] == pytest.approx(1e-2, rel=1e-3)
    assert moved[4.0] == pytest.approx(4e-2, rel=1e-3)


def test_biases_and_norms_do_not_decay_and_everything_else_does(quick: TrainSpec) -> None:
    names = [
        "x.lora_A.weight",
        "x.lora_B.weight",
        "x.lora_magnitude_vector",
        "h.bias",
        "norm.weight",
    ]
    trainable = [(name, torch.nn.Parameter(torch.zeros(2, 2))) for name in names]
    spec = replace(quick.optimizer, weight_decay=0.1)
    found = groups(trainable, spec, None)
    assert [(len(g["params"]), g["weight_decay"]) for g in found] == [(3, 0.1), (2, 0.0)]


def test_the_gradient_norm_is_before_clipping_and_the_step_after_it(quick: TrainSpec) -> None:
    parameter = torch.nn.Parameter(torch.zeros(4))
    optimizer = Optimizer([("a", parameter)], replace(quick.optimizer, name="sgd"), None)
    parameter.grad = torch.full((4,), 10.0)
    assert optimizer.step(0.5).item() == pytest.approx(20.0)
    assert parameter.tolist() == pytest.approx([-0.5 * 1e-2 / 2] * 4, rel=1e-4)
    assert not parameter.grad.any()


def test_only_the_last_turn_is_trained_with_mask_history(quick: TrainSpec, tmp_path: Path) -> None:
    data = write_records(tmp_path / "turns.jsonl", [["a?", "first answer", "b?", "second"]] * 4)
    one = changed(changed(quick, "data", train=[data]), "length", max_steps=1)
    counts = {}
    for masked in (False, True):
        events = run(changed(one, "data", mask_history=masked))
        (said,) = [e for e in events if getattr(e, "code", "") == "data"]
        counts[masked] = said.data["trained_tokens"]
    assert counts[True] == 4 * (len("second") + 1)
    assert counts[False] == counts[True] + 4 * (len("first answer") + 1)


def test_bf16_on_the_cpu_is_computed_in_fp32_and_said(quick: TrainSpec, tmp_path: Path) -> None:
    exact = losses(quick)
    spec = replace(
        quick, output_dir=str(tmp_path / "bf16"), precision=PrecisionSpec("bf16", False, "auto")
    )
    events = run(spec)
    assert [e.loss for e in of_type(events, "progress")] == exact
    assert any(getattr(e, "code", "") == "precision" and "fp32" in e.text for e in events)


def test_a_qwen_base_trains_on_the_general_path_and_says_why(
    quick: TrainSpec, tmp_path: Path
) -> None:
    base = write_tiny(tmp_path / "qwen", "qwen2")
    spec = replace(quick, model=replace(quick.model, path=str(base)), template="qwen")
    events = run(spec)
    (said,) = [e for e in events if getattr(e, "code", "") == "stepper"]
    assert said.data["path"] == "general" and "qwen2" in said.text and said.data["packed"]
    curve = of_type(events, "progress")
    assert curve[-1].loss < curve[0].loss - 0.02


@pytest.mark.parametrize("bit", [4, 8])
def test_a_quantised_base_trains(quick: TrainSpec, tmp_path: Path, bit: Any) -> None:
    pytest.importorskip("bitsandbytes")
    # Its kernels for the CPU want rows of whole blocks.
    base = write_tiny(tmp_path / "wide", hidden_size=64, intermediate_size=128, head_dim=16)
    spec = replace(
        quick,
        model=replace(quick.model, path=str(base)),
        quantization=QuantizationSpec(bit, "nf4", True),
    )
    curve = losses(spec)
    assert curve[-1] < curve[0] - 0.02


def test_the_8_bit_optimiser_trains(quick: TrainSpec) -> None:
    pytest.importorskip("bitsandbytes")
    curve = losses(changed(quick, "optimizer", name="adamw_8bit"))
    assert curve[-1] < curve[0] - 0.02


def test_tensorboard_files_hold_the_curve(quick: TrainSpec) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    spec = replace(quick, logging=replace(quick.logging, report_to=["tensorboard"]))
    curve = losses(spec)
    board = events.EventAccumulator(str(Path(spec.output_dir) / "runs"))
    board.Reload()
    found = [scalar.value for scalar in board.Scalars("train/loss")]
    assert found == pytest.approx(curve, abs=1e-4)
    state = json.loads((Path(spec.output_dir) / "trainer_state.json").read_text())
    assert len(state["log_history"]) == len(found) + 1
