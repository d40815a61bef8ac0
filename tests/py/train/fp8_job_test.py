"""A job with `compute_dtype: fp8`: refused where it cannot be had, said and resumed where it can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.contract.recipe import (
    LoraSpec,
    OptimizerSpec,
    PrecisionSpec,
    SavingSpec,
    TrainSpec,
)
from bullion.train import recipe
from bullion.train.llama import LlamaShape, estimate, fp8
from safetensors.torch import load_file
from small_jobs import of_type, run, write_tiny

CPU = torch.device("cpu")


@pytest.fixture
def asked(quick: TrainSpec) -> TrainSpec:
    return replace(quick, precision=PrecisionSpec("bf16", False, "fp8"))


@pytest.fixture
def granted(cpu_fp8: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor's slow fp8 products stand for a GPU's."""
    monkeypatch.setattr(recipe, "unsupported", lambda _: None)


def refusal(spec: TrainSpec) -> Refusal:
    with pytest.raises(Refusal) as refused:
        run(spec)
    assert refused.value.param == "compute_dtype"
    return refused.value


def test_a_processor_refuses_before_it_reads_the_model(asked: TrainSpec) -> None:
    gone = replace(asked, model=replace(asked.model, path="/nowhere"))
    found = refusal(gone)
    assert found.code == "unsupported_compute_dtype"
    assert "a CPU has no fp8 products" in found.message


@pytest.mark.parametrize(
    ("capability", "offered"), [((8, 6), False), ((8, 9), True), ((9, 0), True)]
)
def test_a_gpu_offers_it_from_compute_capability_8_9_on(
    capability: tuple[int, int], offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert (fp8.unsupported(torch.device("cuda")) is None) == offered


def changed(spec: TrainSpec, part: str, **values: Any) -> TrainSpec:
    return replace(spec, **{part: replace(getattr(spec, part), **values)})


@pytest.mark.parametrize(
    ("part", "values", "named"),
    [
        ("lora", {"use_dora": True}, "use_dora"),
        ("lora", {"additional_target": ["embed_tokens"]}, "additional_target"),
        ("optimizer", {"neftune_noise_alpha": 5.0}, "neftune_noise_alpha"),
        ("precision", {"dtype": "fp32"}, "bf16: true"),
    ],
)
def test_what_only_the_general_step_knows_contradicts_it(
    asked: TrainSpec, part: str, values: dict[str, Any], named: str
) -> None:
    assert isinstance(asked.lora, LoraSpec) and isinstance(asked.optimizer, OptimizerSpec)
    found = refusal(changed(asked, part, **values))
    assert found.code == "invalid_recipe" and named in found.message


def test_a_base_that_the_fast_step_cannot_train_is_refused(
    asked: TrainSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(recipe, "unsupported", lambda _: None)
    other = write_tiny(tmp_path / "qwen", "qwen2")
    found = refusal(changed(asked, "model", path=str(other)))
    assert "the base is a qwen2 model, not a Llama" in found.message


def test_the_job_says_so_and_learns(asked: TrainSpec, granted: None) -> None:
    events = run(asked)
    (stepper,) = [e for e in of_type(events, "message") if e.code == "stepper"]
    assert stepper.data == {"path": "fast", "compute_dtype": "fp8"}
    assert any("fp8" in e.text for e in of_type(events, "message") if e.code == "precision")
    losses = [event.loss for event in of_type(events, "progress")]
    assert losses[-1] < losses[0] - 0.2


def test_a_resumed_job_ends_with_the_same_bits(asked: TrainSpec, granted: None) -> None:
    def spec(name: str) -> TrainSpec:
        output = str(Path(asked.output_dir) / name)
        return replace(asked, output_dir=output, saving=SavingSpec("steps", 7, None, False))

    run(spec("whole"))
    whole = load_file(Path(spec("whole").output_dir) / "adapter_model.safetensors")
    first = Path(spec("whole").output_dir) / "checkpoint-7"
    run(replace(spec("again"), resume_from=str(first)))
    again = load_file(Path(spec("again").output_dir) / "adapter_model.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_its_memory_is_that_of_bf16_within_a_few_percent() -> None:
    shape = LlamaShape(32, 4096, 32, 8, 128, 14336, 128256, 1e-5, False)
    for recompute in ("none", "selective", "full"):
        bf16 = estimate(shape, 3024, recompute)  # type: ignore[arg-type]
        narrow = estimate(shape, 3024, recompute, fp8=True)  # type: ignore[arg-type]
        assert 0.97 < narrow / bf16 < 1.03
