"""Events leave as the JSON that the other language reads, also those that are written by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from bullion.contract.decode import decode, encode
from bullion.contract.wire import drained
from bullion.contract.worker import (
    DeltaEvent,
    EvaluatedEvent,
    Event,
    FinishedEvent,
    MessageEvent,
    ProgressEvent,
    TokenLogprob,
)

GOLDEN = Path(__file__).parents[2] / "golden/worker/messages.json"


def test_every_example_event_is_written_as_it_stands() -> None:
    examples = json.loads(GOLDEN.read_text(encoding="utf-8"))["events"]
    events: list[Event] = [decode(Event, example) for example in examples]
    assert json.loads(drained(events)) == {"events": examples}


@pytest.mark.parametrize("text", ['"', "\\", "\n\u2028\x00", "净利润\U0001f4b0", '", "id": "x'])
@pytest.mark.parametrize("finish", [None, "length"])
def test_a_delta_survives_whatever_its_text_is(text: str, finish: str | None) -> None:
    event = DeltaEvent(text, 3, text, None, 2, finish)  # type: ignore[arg-type]
    assert json.loads(drained([event])) == {"events": [encode(event)]}


def test_nothing_to_say_is_an_empty_list() -> None:
    assert json.loads(drained([])) == {"events": []}


def read(events: list[Event]) -> list[dict[str, Any]]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    events_read = json.loads(drained(events), parse_constant=refuse)["events"]
    return list(events_read)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "event, where",
    [
        (ProgressEvent("a", 1, 2, 1.0, 8.5, 1e-2, NAN, 3, 4.0, 5.0, 6.0), "grad_norm is nan"),
        (EvaluatedEvent("a", 1, 1.0, 0.5, {"eval_accuracy": INF}), "metrics.eval_accuracy is inf"),
        (
            DeltaEvent("a", 0, "t", [TokenLogprob(1, "t", [116], -INF, [], 0)], 1, None),
            r"tokens\[0\].logprob is -inf",
        ),
    ],
)
def test_a_number_that_json_does_not_have_fails_its_own_work_alone(
    event: Event, where: str
) -> None:
    fine = MessageEvent("b", "c", "t")
    failed, other = read([event, fine])
    assert (failed["type"], failed["id"], failed["error"]["code"]) == (
        "failed",
        "a",
        "not_a_number",
    )
    assert re.search(where, failed["error"]["message"])
    assert other == encode(fine)


def test_it_is_null_where_no_schema_asks_for_a_number() -> None:
    message = MessageEvent("a", "c", "t", data={"values": [1.0, NAN], "of": {"it": -INF}})
    finished = FinishedEvent("a", {"train_loss": NAN, "steps": 3})
    said, ended = read([message, finished])
    assert said["data"] == {"values": [1.0, None], "of": {"it": None}}
    assert ended["result"] == {"train_loss": None, "steps": 3}
