"""What happens at which optimiser step: the records, the learning rate, the epoch.

Everything here is a pure function of the step, so that resuming needs nothing but its number. It
trains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from bullion.contract.errors import Refusal
from bullion.contract.recipe import LengthSpec, Pace, ScheduleSpec

SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "cosine_with_min_lr",
    "warmup_stable_decay",
)


@dataclass(frozen=True)
class Course:
    """The records of every step, for `records` records; steps count from 1, epochs from 0."""

    records: int
    length: LengthSpec
    seed: int

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(self.records / self.length.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.batches_per_epoch / self.length.accumulation)

    @property
    def total_steps(self) -> int:
        if self.length.max_steps > 0:
            return self.length.max_steps
        return math.ceil(self.length.epochs * self.steps_per_epoch)

    def order(self, epoch: int) -> list[int]:
        """The records in the order of that epoch."""
        return _order(self.records, self.seed + epoch if self.length.shuffle else None)

    def records_of(self, step: int) -> list[int]:
        epoch, within = divmod(step - 1, self.steps_per_epoch)
        size = self.length.batch_size * self.length.accumulation
        return self.order(epoch)[within * size : (within + 1) * size]

    def sums(self, counts: Sequence[int], last: int | None = None) -> list[int]:
        """The sum of `counts` (one a record) over the records of each step, to `last` or to the end."""
        steps = range(1, (self.total_steps if last is None else last) + 1)
        return [sum(counts[i] for i in self.records_of(step)) for step in steps]

    def epoch_after(self, step: int) -> float:
        """Epochs done after that step, counted in batches as the Transformers trainer does."""
        if step == 0:
            return 0.0
        epoch, within = divmod(step - 1, self.steps_per_epoch)
        batches = min((within + 1) * self.length.accumulation, self.batches_per_epoch)
        return epoch + batches / self.batches_per_epoch

    def due(self, step: int, pace: Pace, steps: int) -> bool:
        """Whether something of that pace happens after `step`."""
        if pace == "steps":
            return step % steps == 0
        return pace == "epoch" and (step % self.steps_per_epoch == 0 or step == self.total_steps)

    def steps_due(self, pace: Pace, steps: int) -> list[int]:
        """All steps of the job after which something of that pace happens, ascending."""
        return [s for s in range(1, self.total_steps + 1) if self.due(s, pace, steps)]


@lru_cache(maxsize=2)
def _order(records: int, seed: int | None) -> list[int]:
    if seed is None:
        return list(range(records))
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(records, generator=generator).tolist()


def warmup_steps(spec: ScheduleSpec, total_steps: int) -> int:
    return (
        spec.warmup_steps if spec.warmup_steps > 0 else math.ceil(total_steps * spec.warmup_ratio)
    )


def learning_rate(spec: ScheduleSpec, base: float, total_steps: int) -> Callable[[int], float]:
    """Step (from 1) → factor of the learning rate, as transformers' schedules of that name.

    Raises Refusal: unknown_schedule, bad_schedule.
    """
    if spec.type not in SCHEDULES:
        raise Refusal(
            "unknown_schedule",
            f"There is no learning-rate schedule {spec.type!r} here; known are {', '.join(SCHEDULES)}",
            "lr_scheduler_type",
        )
    from transformers import get_scheduler

    kwargs: dict[str, Any] = dict(spec.kwargs)
    warmup = warmup_steps(spec, total_steps)
    if spec.type == "warmup_stable_decay" and not kwargs.keys() & {
        "num_decay_steps",
        "num_stable_steps",
    }:
        kwargs["num_decay_steps"] = max(1, total_steps // 10)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=base or 1.0)
    try:
        scheduler = get_scheduler(
            spec.type,
            optimizer,
            num_warmup_steps=warmup,
            num_training_steps=total_steps,
            scheduler_specific_kwargs=kwargs,
        )
    except (TypeError, ValueError) as raised:
        raise Refusal(
            "bad_schedule",
            f"The schedule {spec.type!r} does not take {kwargs}: {raised}",
            "lr_scheduler_kwargs",
        ) from raised
    factor = scheduler.lr_lambdas[0]
    return lambda step: float(factor(step - 1))
