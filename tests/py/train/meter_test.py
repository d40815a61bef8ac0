"""Seconds left: right within a tenth after the first tenth of a job, a slow start included."""

from __future__ import annotations

import random

import pytest
import torch
from bullion.train import meter
from bullion.train.meter import Meter, Pace


def test_seconds_left_are_right_within_a_tenth_after_a_tenth_of_the_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = random.Random(1)
    tokens = [draw.randint(1500, 4500) for _ in range(1230)]
    now = 0.0
    monkeypatch.setattr(meter.time, "monotonic", lambda: now)
    pace = Pace(tokens, 0)
    took = [count / 15000 * draw.uniform(0.9, 1.1) for count in tokens]
    took[0] += 8.0  # something is compiled in the first step
    for step, seconds in enumerate(took, 1):
        now += seconds
        if step == 1 or step % 5 == 0:
            _, rate, left = pace.mark(step)
            if step > 123:
                assert left == pytest.approx(sum(took[step:]), rel=0.1, abs=0.5)
                assert rate == pytest.approx(15000, rel=0.1)
    assert pace.tokens(1230) == sum(tokens)


@pytest.mark.parametrize("steps", [123, 1230])
@pytest.mark.parametrize("cost", [0.4, 0.6])  # of a token evaluated, in tokens trained
def test_evaluations_to_come_count_before_and_after_the_first_of_them(
    monkeypatch: pytest.MonkeyPatch, steps: int, cost: float
) -> None:
    draw = random.Random(1)
    tokens = [draw.randint(2000, 4000) for _ in range(steps)]
    now = 0.0
    monkeypatch.setattr(meter.time, "monotonic", lambda: now)
    due = list(range(20, steps + 1, 20))  # each costs about as much as six steps
    pace = Pace(tokens, 0, due, 40_000)
    guesses = []
    for step, count in enumerate(tokens, 1):
        now += count / 15000 * draw.uniform(0.9, 1.1) + (20.0 if step == 1 else 0)
        if step == 1 or step % 5 == 0:
            guesses.append((step, now, *pace.mark(step)[1:]))
        if step in due:
            took = cost * 40_000 / 15000
            now += took
            pace.evaluated(took)
    for step, then, rate, left in guesses:
        if step > steps / 10:
            assert left == pytest.approx(now - then, rel=0.1, abs=0.5)
            assert rate == pytest.approx(15000, rel=0.1)


def test_a_resumed_job_measures_its_own_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(meter.time, "monotonic", lambda: now)
    pace = Pace([10] * 20, done=10)
    now = 102.0
    assert pace.mark(12) == (2.0, 10.0, 8.0)


def test_every_loss_is_read_once_and_in_order() -> None:
    made = Meter()
    for value in (1.0, 2.0, 3.0):
        made.add(torch.tensor(value))
    reading = made.read(3, torch.tensor(7.0))
    assert reading.ready() and reading.read() == ([1.0, 2.0, 3.0], 7.0)
    assert not made.pending
    made.add(torch.tensor(4.0))
    assert made.read(4, torch.tensor(8.0)).read() == ([4.0], 8.0)
