"""Is a job that was killed and resumed as near to an uninterrupted one as two of those to each other?

Three times the same job through real trainer processes: twice undisturbed, once killed at a random
moment inside a step and once while a checkpoint is being written. It judges; it trains nothing itself.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy
from bullion.contract.recipe import LengthSpec, SavingSpec, TrainSpec
from bullion.train.checkpoint import existing, sweep
from safetensors.numpy import load_file

from training.reference_job import Job
from training.trainer import Event, Spares, Trainer

RECORDS, STEPS, SAVE_EVERY = 96, 36, 5  # 12 steps an epoch
LIMIT = 2.0  # times the difference of two uninterrupted runs


@dataclass
class Seen:
    """What a job showed: (loss, gradient norm) of every step it took, also those it took twice."""

    taken: list[tuple[int, float, float]]
    adapter: Path

    def last(self) -> dict[int, tuple[float, float]]:
        return {step: (loss, norm) for step, loss, norm in self.taken}


@dataclass(frozen=True)
class Difference:
    """The largest over all steps, and over all numbers of the adapter."""

    loss: float
    norm: float  # relative
    adapter: float

    def within(self, other: Difference) -> bool:
        pairs = zip(self.numbers, other.numbers, strict=True)
        return all(mine <= LIMIT * theirs for mine, theirs in pairs)

    @property
    def numbers(self) -> tuple[float, float, float]:
        return self.loss, self.norm, self.adapter

    @property
    def text(self) -> str:
        if not any(self.numbers):
            return "bit-equal"
        return f"loss {self.loss:.2e}, norm {self.norm:.2e}, adapter {self.adapter:.2e}"


def check(job: Job, work: Path, spares: Spares, seed: int) -> tuple[bool, list[str]]:
    """Whether the resumed job is within the limit, and what was seen, a line each."""
    data = job.write(work / "resume.jsonl", range(min(RECORDS, len(job.records))))

    def spec(name: str) -> TrainSpec:
        return job.spec(
            work / name,
            data,
            length=LengthSpec(10.0, STEPS, 1, 8, 8, True),
            saving=SavingSpec("steps", SAVE_EVERY, None, False),
        )

    whole = uninterrupted(spec("whole"), spares)
    again = difference(uninterrupted(spec("again"), spares), whole)
    resumed, kills = killed_twice(spec("killed"), spares, random.Random(seed))
    found = difference(resumed, whole)
    losses = whole.last()
    lines = [
        f"{STEPS} steps of {min(RECORDS, len(job.records))} records, loss {losses[1][0]:.4f} → "
        f"{losses[STEPS][0]:.4f}",
        *kills,
        f"two uninterrupted runs: {again.text}",
        f"killed twice and resumed, against the first of them: {found.text}",
    ]
    return found.within(again) and len(kills) == 2, lines


def uninterrupted(spec: TrainSpec, spares: Spares) -> Seen:
    return Seen(_progress(spares.take().run(spec)), _adapter(spec))


def killed_twice(spec: TrainSpec, spares: Spares, draw: random.Random) -> tuple[Seen, list[str]]:
    """Killed inside a step, resumed, killed inside a save, resumed; with a line for each kill."""
    taken, kills = [], []
    trainer = spares.take()
    target = draw.randint(2 * SAVE_EVERY + 1, STEPS // 2)  # the first save is on disk by then
    began = time.monotonic()
    for event in trainer.run(spec):
        if event["type"] != "progress":
            continue
        taken += _progress([event])
        if event["step"] == 1:
            began = time.monotonic()
        if event["step"] == target:
            moment = draw.random()
            time.sleep(moment * (time.monotonic() - began) / (target - 1))
            trainer.kill()
    kills.append(
        f"killed {moment:.2f} of a step after step {target}; last checkpoint {_last(spec)}"
    )
    for _ in range(5):  # a save may be done before the signal arrives
        sweep(Path(spec.output_dir))
        trainer = spares.take()
        watch = threading.Thread(target=_kill_in_save, args=(trainer, Path(spec.output_dir)))
        watch.start()
        taken += _progress(trainer.run(_resumed(spec)))
        watch.join()
        partial = list(Path(spec.output_dir).glob("checkpoint-*.partial"))
        if partial:
            kills.append(f"killed while {partial[0].name} was there; last checkpoint {_last(spec)}")
            taken += _progress(spares.take().run(_resumed(spec)))
            break
        if _adapter(spec).exists():
            break  # it got to its end: the caller misses a kill
    return Seen(taken, _adapter(spec)), kills


def difference(one: Seen, other: Seen) -> Difference:
    known = other.last()
    steps = {step for step, _, _ in one.taken}
    assert steps == known.keys() == set(range(1, STEPS + 1)), "a step is missing in what was said"
    loss = max(abs(loss - known[step][0]) for step, loss, _ in one.taken)
    norm = max(abs(norm / known[step][1] - 1) for step, _, norm in one.taken)
    mine, theirs = load_file(one.adapter), load_file(other.adapter)
    assert mine.keys() == theirs.keys()
    return Difference(loss, norm, max(float(numpy.abs(mine[k] - theirs[k]).max()) for k in mine))


def _kill_in_save(trainer: Trainer, output: Path) -> None:
    while trainer.process.poll() is None:
        if any(output.glob("checkpoint-*.partial")):
            trainer.kill()
            return
        time.sleep(0.0005)


def _resumed(spec: TrainSpec) -> TrainSpec:
    return replace(spec, resume_from=str(existing(Path(spec.output_dir))[-1].path))


def _progress(events: Iterable[Event]) -> list[tuple[int, float, float]]:
    return [(e["step"], e["loss"], e["grad_norm"]) for e in events if e["type"] == "progress"]


def _last(spec: TrainSpec) -> int:
    return existing(Path(spec.output_dir))[-1].step


def _adapter(spec: TrainSpec) -> Path:
    return Path(spec.output_dir) / "adapter_model.safetensors"
