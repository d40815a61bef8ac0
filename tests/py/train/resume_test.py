"""A job that is killed, paused or cancelled goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.contract.recipe import SavingSpec, TrainSpec
from bullion.train.checkpoint import existing
from small_jobs import of_type, run


def in_child(spec: TrainSpec) -> int:
    """Start training in a forked process that a test may kill; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        torch.set_num_threads(1)
        run(spec)
        os._exit(0)
    except BaseException as raised:
        print("child:", repr(raised), flush=True)
        os._exit(1)


def outcome(spec: TrainSpec) -> tuple[bytes, list[Any], list[Any]]:
    """The final adapter's bytes, the logged curve, and the curve of trainer_state.json."""
    output = Path(spec.output_dir)
    log = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
    curve = [(line["current_steps"], line["loss"], line["lr"]) for line in log]
    history = json.loads((output / "trainer_state.json").read_text())["log_history"][:-1]
    return (output / "adapter_model.safetensors").read_bytes(), curve, history


def saving(spec: TrainSpec, output: Path, steps: int = 1) -> TrainSpec:
    return replace(
        spec,
        output_dir=str(output),
        saving=SavingSpec("steps", steps, 3, False),
        lora=replace(spec.lora, dropout=0.1),
    )


@pytest.mark.parametrize("path", ["fast", "general"])
def test_kills_at_random_moments_leave_curve_and_adapter_as_they_would_have_been(
    quick: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    if path == "general":
        monkeypatch.setattr("bullion.train.choose.obstacle", lambda *_: "the test wants it")
    whole = saving(quick, tmp_path / "whole")
    assert os.waitpid(in_child(whole), 0)[1] == 0
    killed = saving(quick, tmp_path / "killed")
    log = Path(killed.output_dir) / "trainer_log.jsonl"
    moments = random.Random(20240607)
    kills = resumptions = 0
    for _ in range(12):
        found = existing(Path(killed.output_dir))
        resumptions += bool(found)
        child = in_child(replace(killed, resume_from=str(found[-1].path) if found else None))
        steps = (found[-1].step if found else 0) + moments.randint(1, 3)
        ended = 0
        while not ended and (kills >= 8 or lines(log) < steps):
            ended, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.001)
        if ended:
            assert status == 0
            break
        time.sleep(moments.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
    assert kills >= 4 and resumptions >= 3
    assert outcome(killed) == outcome(whole)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_pause_saves_first_and_the_job_goes_on_from_there_to_the_same_end(
    quick: TrainSpec, tmp_path: Path
) -> None:
    whole = saving(quick, tmp_path / "whole", steps=500)
    run(whole)
    paused = saving(quick, tmp_path / "paused", steps=500)
    looks = iter(range(1000))
    events = run(paused, lambda: "pause" if next(looks) >= 7 else None)
    (saved,) = of_type(events, "checkpoint")
    assert events[-1].type == "stopped" and events[-1].how == "pause"
    assert 0 < saved.step < 18
    events = run(replace(paused, resume_from=saved.path))
    assert of_type(events, "progress")[0].step == saved.step + 1
    assert outcome(paused) == outcome(whole)


def test_a_pause_can_be_resumed_also_when_only_the_model_is_saved(quick: TrainSpec) -> None:
    spec = replace(quick, saving=SavingSpec("steps", 1, None, True))
    looks = iter(range(1000))
    events = run(spec, lambda: "pause" if next(looks) >= 5 else None)
    last = of_type(events, "checkpoint")[-1]
    assert run(replace(spec, resume_from=last.path))[-1].result["steps"] == 18


def test_a_cancel_ends_the_job_without_a_checkpoint(quick: TrainSpec) -> None:
    looks = iter(range(1000))
    events = run(quick, lambda: "cancel" if next(looks) >= 5 else None)
    assert events[-1].type == "stopped" and events[-1].how == "cancel"
    assert not of_type(events, "checkpoint")
    assert not (Path(quick.output_dir) / "adapter_model.safetensors").exists()


def test_a_checkpoint_of_other_records_is_refused(quick: TrainSpec, tmp_path: Path) -> None:
    spec = saving(quick, tmp_path / "first", steps=6)
    run(spec)
    other = replace(
        spec,
        data=replace(spec.data, max_samples=10),
        resume_from=str(tmp_path / "first/checkpoint-6"),
    )
    with pytest.raises(Refusal, match="records") as refused:
        run(other)
    assert refused.value.code == "cannot_resume"


def test_a_loss_mean_over_several_steps_survives_a_resume_in_between(
    quick: TrainSpec, tmp_path: Path
) -> None:
    def logged_every_five(output: Path) -> TrainSpec:
        spec = saving(quick, output, steps=7)
        return replace(spec, logging=replace(spec.logging, steps=5))

    whole = logged_every_five(tmp_path / "whole")
    run(whole)
    resumed = logged_every_five(tmp_path / "resumed")
    run(resumed)
    run(replace(resumed, resume_from=str(tmp_path / "resumed/checkpoint-7")))
    assert outcome(resumed) == outcome(whole)
    assert [step for step, _, _ in outcome(whole)[1]] == [5, 10, 15]
