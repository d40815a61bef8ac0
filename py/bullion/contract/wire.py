"""Events as the JSON text that leaves by `drain`.

A step of many streams makes one delta a stream, and they are written on the reading thread, which
takes turns with the engine's thread; so a delta without log probabilities is put together by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quoted

from bullion.contract.decode import encode
from bullion.contract.worker import DeltaEvent, Event


def drained(events: Iterable[Event]) -> str:
    """The text of `Drained` in contract/worker.ts."""
    return f'{{"events": [{", ".join(map(_text, events))}]}}'


def _text(event: Event) -> str:
    if not isinstance(event, DeltaEvent) or event.tokens is not None:
        return json.dumps(encode(event))
    finish = "null" if event.finish_reason is None else f'"{event.finish_reason}"'
    return (
        f'{{"type": "delta", "id": {quoted(event.id)}, "index": {event.index}, '
        f'"text": {quoted(event.text)}, "tokens": null, "count": {event.count}, '
        f'"finish_reason": {finish}}}'
    )
