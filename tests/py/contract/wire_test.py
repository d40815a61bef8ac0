"""Events leave as the JSON that the other language reads, also those that are written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bullion.contract.decode import decode, encode
from bullion.contract.wire import drained
from bullion.contract.worker import DeltaEvent, Event

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
