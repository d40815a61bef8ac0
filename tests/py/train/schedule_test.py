"""Which records a step takes and at what rate, against LLaMA-Factory's own order and schedule."""

from __future__ import annotations

import hashlib
import json
import math
from inspect import signature
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.contract.recipe import LengthSpec, ScheduleSpec
from bullion.train.schedule import SCHEDULES, Course, learning_rate, warmup_steps
from transformers import get_scheduler
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION


def course(records: int = 977, **changes: Any) -> Course:
    length = {
        "epochs": 10.0,
        "max_steps": -1,
        "batch_size": 1,
        "accumulation": 8,
        "eval_batch_size": 8,
        "shuffle": True,
        **changes,
    }
    return Course(records, LengthSpec(**length), 42)


@pytest.fixture(scope="module")
def order(golden: Path) -> dict[str, Any]:
    return dict(json.loads((golden / "order.json").read_text()))


def test_every_epoch_visits_the_records_in_the_golden_order(order: dict[str, Any]) -> None:
    made = course()
    assert made.order(0) == order["epoch1"] and made.order(1) == order["epoch2"]
    for epoch, wanted in enumerate(order["sha256_int32le_per_epoch"]):
        found = numpy.array(made.order(epoch), dtype="<i4").tobytes()
        assert hashlib.sha256(found).hexdigest() == wanted


def test_steps_warm_up_and_epochs_are_counted_as_theirs(order: dict[str, Any]) -> None:
    made = course()
    assert made.steps_per_epoch == order["optimizer_steps_per_epoch"] == 123
    assert made.total_steps == order["total_steps"]
    assert len(made.records_of(123)) == order["last_window_records"] == 1
    assert warmup_steps(ScheduleSpec("cosine", 0.1, 0, {}), 1230) == order["warmup_steps"]
    for step, epoch in order["logged_epoch_at_step"].items():
        assert made.epoch_after(int(step)) == pytest.approx(epoch, abs=1e-12)


def test_the_learning_rate_of_a_step_is_the_golden_one(order: dict[str, Any]) -> None:
    factor = learning_rate(ScheduleSpec("cosine", 0.1, 0, {}), 1e-4, 1230)
    for step, rate in order["learning_rate_at_step"].items():
        assert 1e-4 * factor(int(step)) == pytest.approx(rate, rel=1e-12, abs=1e-18)


def test_a_step_holds_the_golden_number_of_trained_tokens(
    order: dict[str, Any], golden: Path
) -> None:
    lengths = json.loads((golden.parent / "experiments/token_lengths.json").read_text())
    made = course()
    for epoch, key in enumerate(("num_items_in_batch_epoch1", "num_items_in_batch_epoch2")):
        first = epoch * made.steps_per_epoch + 1
        sums = [
            sum(lengths[i][1] for i in made.records_of(step)) for step in range(first, first + 123)
        ]
        assert sums == order[key]


def test_without_shuffling_records_come_as_they_lie_and_part_epochs_round_up() -> None:
    made = course(10, shuffle=False, batch_size=2, accumulation=2, epochs=1.5)
    assert (made.steps_per_epoch, made.total_steps) == (3, 5)
    assert [made.records_of(step) for step in (1, 3, 4)] == [[0, 1, 2, 3], [8, 9], [0, 1, 2, 3]]
    assert [made.epoch_after(step) for step in (0, 1, 3, 5)] == [0, 0.4, 1.0, 1.8]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_transformers_own(name: str) -> None:
    kwargs: dict[str, Any] = {"min_lr_rate": 0.1} if name == "cosine_with_min_lr" else {}
    if name == "warmup_stable_decay":
        kwargs = {"num_decay_steps": 5}
    factor = learning_rate(ScheduleSpec(name, 0.1, 0, kwargs), 1e-3, 40)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
    scheduler = get_scheduler(
        name,
        optimizer,
        num_warmup_steps=4,
        num_training_steps=40,
        scheduler_specific_kwargs=kwargs,
    )
    for step in range(1, 41):
        assert 1e-3 * factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        scheduler.step()


def test_the_arguments_a_schedule_may_be_told_are_those_it_has() -> None:
    own = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
    golden = Path(__file__).parents[2] / "golden/schedules.json"
    known = json.loads(golden.read_text(encoding="utf-8"))
    assert set(known) == set(SCHEDULES)
    for name, arguments in known.items():
        assert set(signature(TYPE_TO_SCHEDULER_FUNCTION[name]).parameters) - own == set(arguments)


def test_warm_up_steps_win_over_the_ratio_and_the_ratio_rounds_up() -> None:
    assert warmup_steps(ScheduleSpec("linear", 0.5, 3, {}), 100) == 3
    assert warmup_steps(ScheduleSpec("linear", 0.1, 0, {}), 6) == math.ceil(0.6)


def test_an_unknown_schedule_or_argument_is_refused_by_name() -> None:
    with pytest.raises(Refusal, match="cosine_with_restarts"):
        learning_rate(ScheduleSpec("cosinus", 0, 0, {}), 1e-3, 10)
    with pytest.raises(Refusal, match="wrong_name") as refused:
        learning_rate(ScheduleSpec("cosine_with_min_lr", 0, 0, {"wrong_name": 1}), 1e-3, 10)
    assert refused.value.param == "lr_scheduler_kwargs"
