"""Both loss curves of LLaMA-Factory, step by step, and the adapters at their start and end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from bullion.contract.recipe import LengthSpec, TrainSpec
from safetensors.torch import load_file
from small_jobs import alpaca_conversations, of_type, plain_spec, run, write_records


def curve_spec(folder: Path, base: Path, rows: list[dict[str, Any]], output: Path) -> TrainSpec:
    wanted = yaml.safe_load((folder / "train.yaml").read_text())
    kept = rows[: wanted["max_samples"]]
    data = write_records(output.with_suffix(".jsonl"), alpaca_conversations(kept))
    spec = plain_spec(base, output, [data])
    return replace(
        spec,
        data=replace(spec.data, cutoff_len=wanted["cutoff_len"]),
        optimizer=replace(spec.optimizer, learning_rate=float(wanted["learning_rate"])),
        length=LengthSpec(wanted["num_train_epochs"], wanted.get("max_steps", -1), 1, 8, 8, True),
    )


@pytest.mark.parametrize(
    ("curve", "path"),
    [("curve_a", "fast"), ("curve_b", "fast"), ("curve_b", "general")],
)
def test_every_step_has_the_golden_loss_and_norm_and_the_adapter_ends_as_theirs(
    golden: Path,
    tinybase: Path,
    reference: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    curve: str,
    path: str,
) -> None:
    if path == "general":
        monkeypatch.setattr("bullion.train.choose.obstacle", lambda *_: "the test wants it")
    spec = curve_spec(golden / curve, tinybase, reference, tmp_path / curve)
    events = run(spec)
    assert [e.data["path"] for e in events if getattr(e, "code", "") == "stepper"] == [path]
    log = [line for line in json.loads((golden / curve / "log.json").read_text()) if "loss" in line]
    steps = of_type(events, "progress")
    assert len(steps) == len(log)
    for ours, theirs in zip(steps, log, strict=True):
        assert ours.step == theirs["step"]
        assert ours.epoch == pytest.approx(theirs["epoch"], abs=1e-9)
        assert ours.learning_rate == pytest.approx(theirs["learning_rate"], rel=1e-9)
        assert ours.loss == pytest.approx(theirs["loss"], abs=1e-4)
        assert ours.grad_norm == pytest.approx(theirs["grad_norm"], rel=1e-4)
    made = load_file(Path(spec.output_dir) / "adapter_model.safetensors")
    wanted = load_file(golden / curve / "adapter_model.safetensors")
    assert made.keys() == wanted.keys()
    # Curve b steps at 5e-3 over gradients that are here and there as small as Adam's epsilon, which
    # magnifies rounding: separate passes of plain Transformers end up to 1.8e-5 away themselves.
    for name, tensor in wanted.items():
        torch.testing.assert_close(made[name], tensor, rtol=0, atol=1e-5)
        assert (made[name] - tensor).norm() < 1e-5 * max(tensor.norm(), 1)
