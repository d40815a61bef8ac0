"""Losses and norms of the steps, read back from the device without waiting for it.

It owns when numbers become known, the rate of the job and the time that is left. It decides nothing.
"""

from __future__ import annotations

import bisect
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FORWARD = 0.5  # of a step: frozen weights have one product backward for each one forward


@dataclass(frozen=True)
class Reading:
    """Numbers on their way from the device."""

    step: int
    values: Tensor  # (losses since the last reading…, norm of this step), on the CPU once `arrived`
    arrived: torch.cuda.Event | None

    def ready(self) -> bool:
        return self.arrived is None or self.arrived.query()

    def read(self) -> tuple[list[float], float]:
        """(step losses, norm before clipping); waits when they have not arrived."""
        if self.arrived is not None:
            self.arrived.synchronize()
        *losses, norm = self.values.tolist()
        return losses, norm


class Meter:
    """Collects a 0-d loss a step and turns them into readings."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []

    @property
    def pending(self) -> bool:
        return bool(self._losses)

    def add(self, loss: Tensor) -> None:
        self._losses.append(loss)

    def read(self, step: int, norm: Tensor) -> Reading:
        """Start reading what has been added since the last time."""
        values = torch.stack([*self._losses, norm.to(self._losses[0])]).double()
        self._losses.clear()
        if values.device.type == "cpu":
            return Reading(step, values, None)
        landed = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        landed.copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        return Reading(step, landed, arrived)


class Pace:
    """Tokens a second and seconds left, from the newer half of the steps: the start is slower.

    Evaluations count apart: what they took so far says what those to come will take, and before the
    first of them its tokens do. `evaluations`: the steps after which one is due, ascending.
    """

    def __init__(
        self,
        tokens_of_steps: Sequence[int],
        done: int,
        evaluations: Sequence[int] = (),
        evaluated_tokens: int = 0,
    ) -> None:
        self._ends = list(itertools.accumulate(tokens_of_steps, initial=0))
        self._began = time.monotonic()
        self._steps = [done]
        self._working = [0.0]  # seconds, evaluations left out
        self._evaluations = evaluations
        self._evaluated_tokens = evaluated_tokens
        self._pauses: list[float] = []

    def tokens(self, step: int) -> int:
        """Tokens from the first step of the job to the end of `step`."""
        return self._ends[step]

    def evaluated(self, seconds: float) -> None:
        """An evaluation has just ended, which took so long."""
        self._pauses.append(seconds)

    def mark(self, step: int) -> tuple[float, float, float]:
        """`step` has just ended, what is due after it has not begun: (seconds since this run began,
        tokens a second between evaluations, seconds left)."""
        seconds = time.monotonic() - self._began
        working = seconds - sum(self._pauses)
        middle = (self._steps[0] + step) // 2
        start = bisect.bisect_right(self._steps, middle) - 1
        tokens = self._ends[step] - self._ends[self._steps[start]]
        rate = max(tokens, 1) / max(working - self._working[start], 1e-9)
        self._steps.append(step)
        self._working.append(working)
        to_come = len(self._evaluations) - bisect.bisect_left(self._evaluations, step)
        if self._pauses:
            each = sum(self._pauses) / len(self._pauses)
        else:
            each = FORWARD * self._evaluated_tokens / rate
        return seconds, rate, (self._ends[-1] - self._ends[step]) / rate + to_come * each
