"""Events as the JSON text that leaves by `drain`.

A step of many streams makes one delta a stream, and they are written on the reading thread, which
takes turns with the engine's thread; so a delta without log probabilities is put together by hand.

JSON has no NaN and no infinity, and one of them would make the whole answer unreadable: where a value
may be anything it becomes null, and an event that needs the number becomes `failed` for its work alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from bullion.contract.decode import encode
from bullion.contract.errors import ErrorDetail
from bullion.contract.worker import DeltaEvent, Event, FailedEvent

FREE = ("machine", "data", "result", "records")
"""Fields of events whose values no schema describes."""


def drained(events: Iterable[Event]) -> str:
    """The text of `Drained` in contract/worker.ts."""
    return f'{{"events": [{", ".join(map(_text, events))}]}}'


def _text(event: Event) -> str:
    if not isinstance(event, DeltaEvent) or event.tokens is not None:
        body = encode(event)
        try:
            return json.dumps(body, allow_nan=False)
        except ValueError:
            return json.dumps(_finite(event, body), allow_nan=False)
    finish = "null" if event.finish_reason is None else f'"{event.finish_reason}"'
    return (
        f'{{"type": "delta", "id": {quoted(event.id)}, "index": {event.index}, '
        f'"text": {quoted(event.text)}, "tokens": null, "count": {event.count}, '
        f'"finish_reason": {finish}}}'
    )


def _finite(event: Event, body: dict[str, Any]) -> Any:
    for name in FREE:
        if name in body:
            body[name] = _nulled(body[name])
    found = next(_not_finite(body, ""), None)
    if found is None:
        return body
    where, value = found
    text = (
        f"Cannot tell of the work's {event.type} event as its {where} is {value}, no finite number"
    )
    return encode(FailedEvent(event.id, ErrorDetail("not_a_number", text)))


def _nulled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _nulled(item) for key, item in value.items()}
    return [_nulled(item) for item in value] if isinstance(value, list) else value


def _not_finite(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """The numbers that JSON does not have, each with its path."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _not_finite(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_finite(item, f"{path}[{index}]")
