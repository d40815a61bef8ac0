"""A checkpoint is complete under its name or not there; limits, best ones and full disks included."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.contract.recipe import SavingSpec, TrainSpec
from bullion.models import lora
from bullion.models.load import load_base
from bullion.train import checkpoint
from bullion.train.recipe import train
from safetensors.torch import load_file
from small_jobs import of_type, plain_spec, run


def names(spec: TrainSpec) -> list[str]:
    return sorted(path.name for path in Path(spec.output_dir).glob("checkpoint-*"))


def test_every_announced_checkpoint_is_complete_when_it_is_announced(quick: TrainSpec) -> None:
    spec = replace(quick, saving=SavingSpec("steps", 5, None, False))
    seen = []
    for event in train(spec, "job", lambda: None):
        if event.type == "checkpoint":
            folder = Path(event.path)
            assert load_file(folder / "adapter_model.safetensors")
            assert (
                json.loads((folder / "trainer_state.json").read_text())["global_step"] == event.step
            )
            for name in ("adapter_config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
                assert (folder / name).is_file()
            seen.append(event.step)
    assert seen == [5, 10, 15, 18]
    assert not list(Path(spec.output_dir).glob("*.partial"))


def test_only_the_newest_are_kept_and_what_goes_is_announced(quick: TrainSpec) -> None:
    spec = replace(quick, saving=SavingSpec("steps", 4, 2, False))
    events = run(spec)
    assert [e.step for e in of_type(events, "checkpoint")] == [4, 8, 12, 16, 18]
    assert [e.step for e in of_type(events, "checkpoint_removed")] == [4, 8, 12]
    assert names(spec) == ["checkpoint-16", "checkpoint-18"]


def test_with_save_only_model_a_checkpoint_is_an_adapter_and_cannot_be_resumed(
    quick: TrainSpec,
) -> None:
    spec = replace(quick, saving=SavingSpec("epoch", 500, None, True))
    run(spec)
    assert names(spec) == ["checkpoint-12", "checkpoint-18", "checkpoint-6"]
    folder = Path(spec.output_dir) / "checkpoint-6"
    assert not (folder / "optimizer.pt").exists()
    with pytest.raises(Refusal, match="save_only_model"):
        run(replace(spec, resume_from=str(folder)))


def test_a_full_disk_is_named_and_leaves_nothing_half_written(
    quick: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(quick, saving=SavingSpec("steps", 5, None, False))
    written = torch.save

    def fills_up(value: Any, path: Path) -> None:
        if "checkpoint-10" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written(value, path)

    monkeypatch.setattr(torch, "save", fills_up)
    with pytest.raises(Refusal, match="disk is full") as refused:
        run(spec)
    assert refused.value.code == "disk_full"
    assert names(spec) == ["checkpoint-5"]
    monkeypatch.undo()
    events = run(replace(spec, resume_from=str(Path(spec.output_dir) / "checkpoint-5")))
    assert events[-1].type == "finished"


def test_a_snapshot_is_not_changed_by_later_steps(tiny: Path) -> None:
    spec = plain_spec(tiny, tiny, [])
    base = load_base(spec.model, torch.float32, torch.device("cpu")).model
    model = lora.attach(base, spec.lora, 42)
    moments = {"state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(1.0)}}}
    taken = checkpoint.snapshot(model, moments, 1, 0.5, {})
    before = {name: tensor.clone() for name, tensor in taken.adapter.items()}
    with torch.no_grad():
        for tensor in lora.adapter_tensors(model).values():
            tensor.add_(1)
        moments["state"][0]["exp_avg"].add_(1)
    assert all(torch.equal(taken.adapter[name], before[name]) for name in before)
    assert taken.optimizer is not None
    assert taken.optimizer["state"][0]["exp_avg"].tolist() == [1, 1, 1]


def test_an_early_checkpoint_holds_what_a_job_that_ends_there_leaves(
    quick: TrainSpec, tmp_path: Path
) -> None:
    spec = replace(quick, schedule=replace(quick.schedule, type="constant"))
    long = replace(spec, saving=SavingSpec("steps", 7, None, False))
    short = replace(
        spec, output_dir=str(tmp_path / "short"), length=replace(spec.length, max_steps=7)
    )
    run(long)
    run(short)
    early = load_file(Path(long.output_dir) / "checkpoint-7/adapter_model.safetensors")
    final = load_file(Path(short.output_dir) / "adapter_model.safetensors")
    assert all(torch.equal(early[name], final[name]) for name in final)


def test_what_an_earlier_process_left_half_written_is_swept_away(quick: TrainSpec) -> None:
    output = Path(quick.output_dir)
    (output / "checkpoint-3.partial").mkdir(parents=True)
    (output / "checkpoint-2.removed").mkdir()
    (output / "checkpoint-1").mkdir()  # under its name but without its state: not one of ours
    assert checkpoint.existing(output) == []
    run(quick)
    assert names(quick) == ["checkpoint-1"]


def test_checkpoints_of_an_earlier_job_in_the_same_folder_are_left_alone(quick: TrainSpec) -> None:
    spec = replace(quick, saving=SavingSpec("steps", 9, 1, False))
    foreign = Path(spec.output_dir) / "checkpoint-999"
    foreign.mkdir(parents=True)
    (foreign / "trainer_state.json").write_text('{"epoch": 3.0}')
    run(spec)
    assert names(spec) == ["checkpoint-18", "checkpoint-999"]
