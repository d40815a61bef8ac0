"""Do the plans for smaller cards keep their limit, and how fast are they?

The reference's recipe through real trainer processes, once without a limit and once with each
`memory_limit_gb`; torch's own peaks are held against the limit. It plans nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bullion.contract.recipe import LengthSpec, MemorySpec

from training.reference_job import Job
from training.trainer import Event, Spares

STEPS = 40
WARM = 6  # steps before the rate is taken: the second and third are the largest ones
SHARE = {48.0: 0.85}  # of full speed that a limit must leave; other limits must run at all


@dataclass(frozen=True)
class Plan:
    """One job as it ran. `peak`, `reserved`, `context`: bytes; 0 where torch does not say."""

    limit: float | None
    said: Event
    rate: float  # tokens a second
    peak: int
    reserved: int
    context: int

    def text(self, full: float) -> str:
        name = "no limit" if self.limit is None else f"memory_limit_gb: {self.limit:g}"
        return (
            f"{name}: {self.said['text']}; allocated {self.peak / 1e9:.1f}, reserved "
            f"{self.reserved / 1e9:.1f}, beside it {self.context / 1e9:.1f} GB; "
            f"{self.rate:,.0f} tokens/s, {self.rate / full:.0%} of full speed"
        )

    def keeps(self, full: float) -> bool:
        if self.limit is None:
            return True
        within = self.reserved + self.context <= self.limit * 1e9
        return within and self.rate >= SHARE.get(self.limit, 0.0) * full


def check(
    job: Job, work: Path, spares: Spares, limits: list[float], steps: int = STEPS
) -> tuple[bool, list[str]]:
    """Whether every limit was kept, at the speed asked for, and what was seen, a line each.

    A limit below 1 is a share of what the job without one needs, for bases of any size.
    """
    chosen, largest = job.first_steps_and_the_largest(work, steps)
    data = job.write(work / "plans.jsonl", chosen)
    lines = [f"{steps} steps; the largest of all, {largest} tokens, is the third"]
    full = measure(job, work, data, spares, None, steps)
    plans = [full]
    for limit in limits:
        whole = limit if limit >= 1 else limit * full.said["data"]["needed_gb"]
        plans.append(measure(job, work, data, spares, whole, steps))
    lines += [plan.text(full.rate) for plan in plans]
    return all(plan.keeps(full.rate) for plan in plans), lines


def measure(
    job: Job, work: Path, data: Path, spares: Spares, limit: float | None, steps: int
) -> Plan:
    spec = job.spec(
        work / f"plan-{limit or 'none'}",
        data,
        length=LengthSpec(10.0, steps, 1, 8, 8, False),
        memory=MemorySpec(limit, False),
    )
    trainer = spares.take()
    events = list(trainer.run(spec))
    (said,) = [e for e in events if e["type"] == "message" and e["code"] == "plan"]
    progress = [e for e in events if e["type"] == "progress"]
    start = next(e for e in progress if e["step"] >= min(WARM, steps // 2))
    tokens = progress[-1]["tokens"] - start["tokens"]
    memory = trainer.memory
    return Plan(
        limit,
        said,
        tokens / (progress[-1]["seconds"] - start["seconds"]),
        memory.get("allocated", 0),
        memory.get("reserved", 0),
        memory.get("context", 0),
    )
