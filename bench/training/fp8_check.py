"""Does fp8 train as bf16 does? Its loss may differ from bf16's by twice what two bf16 seeds differ.

The same records in the same order through real trainer processes: bf16 from two adapter starts, fp8
from the first of them; compared step by step, and their speeds beside each other. It decides only that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bullion.contract.recipe import LengthSpec, TrainSpec
from bullion.train.schedule import Course

from training.reference_job import LENGTH, SEED, Job
from training.trainer import Spares

STEPS = 80
WARM = 6  # steps before the rate is taken
LIMIT = 2.0  # times the largest difference of two seeds


@dataclass(frozen=True)
class Run:
    losses: list[float]  # of every step
    rate: float  # tokens a second
    peak: int  # bytes, by torch


def check(
    job: Job, work: Path, spares: Spares, compute_dtype: str, steps: int = STEPS
) -> tuple[bool, list[str]]:
    """Whether `compute_dtype` stays within the limit, and what was seen, a line each.

    The records of the reference's first steps are written in their order and not shuffled, so that the
    seed decides nothing but the adapter's start.
    """
    course = Course(len(job.records), LENGTH, SEED)
    chosen = [record for step in range(1, steps + 1) for record in course.records_of(step)]
    data = job.write(work / "seeds.jsonl", chosen)

    def spec(name: str, seed: int) -> TrainSpec:
        length = LengthSpec(10.0, steps, 1, 8, 8, False)
        return job.spec(work / name, data, length=length, seed=seed)

    first = measure(spec("seed-one", SEED), spares)
    second = measure(spec("seed-two", SEED + 1), spares)
    other = spec("other", SEED)
    precision = replace(other.precision, compute_dtype=compute_dtype)  # type: ignore[arg-type]
    narrow = measure(replace(other, precision=precision), spares)
    apart, at = furthest(second, first)
    found, where = furthest(narrow, first)
    lines = [
        f"{steps} steps, bf16 loss {first.losses[0]:.4f} → {first.losses[-1]:.4f}, "
        f"{compute_dtype} {narrow.losses[0]:.4f} → {narrow.losses[-1]:.4f}",
        f"two seeds in bf16: at most {apart:.5f} apart (step {at})",
        f"{compute_dtype} against bf16, one seed: at most {found:.5f} (step {where}), "
        f"{found / apart:.2f} times that; {LIMIT:g} times is the limit",
        f"bf16 {first.rate:,.0f} tokens/s, {first.peak / 1e9:.1f} GB; {compute_dtype} "
        f"{narrow.rate:,.0f} ({narrow.rate / first.rate:.2f} times), {narrow.peak / 1e9:.1f} GB",
    ]
    return found <= LIMIT * apart, lines


def furthest(one: Run, other: Run) -> tuple[float, int]:
    """The largest difference of two losses of one step, and the step."""
    pairs = enumerate(zip(one.losses, other.losses, strict=True), start=1)
    return max((abs(mine - theirs), step) for step, (mine, theirs) in pairs)


def measure(spec: TrainSpec, spares: Spares) -> Run:
    trainer = spares.take()
    progress = [event for event in trainer.run(spec) if event["type"] == "progress"]
    steps = spec.length.max_steps
    assert [event["step"] for event in progress] == list(range(1, steps + 1))
    start, end = progress[min(WARM, steps // 2) - 1], progress[-1]
    return Run(
        [event["loss"] for event in progress],
        (end["tokens"] - start["tokens"]) / (end["seconds"] - start["seconds"]),
        trainer.memory.get("allocated", 0),
    )
