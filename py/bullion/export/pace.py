"""Between two steps of an export: does it go on, what is told, how long did each phase take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

from bullion.contract.worker import Event, Interruption, MessageEvent

SECONDS_BETWEEN_PROGRESS = 1.0


class Interrupted(Exception):
    """Somebody asked the export to end."""

    def __init__(self, how: Literal["cancel", "pause"]) -> None:
        super().__init__(how)
        self.how = how


class Pace:
    """Asks between steps whether to go on, spaces progress events, and times the phases."""

    def __init__(self, job_id: str, interruption: Interruption) -> None:
        self._id, self._interruption = job_id, interruption
        self._phases: list[tuple[str, float]] = []
        self._told = time.monotonic()

    def phase(self, name: str, text: str) -> Event:
        self._ask()
        self._phases.append((name, time.monotonic()))
        return MessageEvent(self._id, "phase", text, data={"phase": name})

    def say(self, code: str, text: str) -> Event:
        return MessageEvent(self._id, code, text, level="warn")

    def step(self, done: int, total: int) -> Iterator[Event]:
        self._ask()
        now = time.monotonic()
        if now - self._told >= SECONDS_BETWEEN_PROGRESS or done == total:
            self._told = now
            phase = self._phases[-1][0]
            data = {"phase": phase, "done": done, "total": total}
            yield MessageEvent(self._id, "progress", f"{phase}: {done} of {total}", data=data)

    def seconds(self) -> dict[str, float]:
        ends = [begin for _, begin in self._phases[1:]] + [time.monotonic()]
        return {
            name: round(end - begin, 3)
            for (name, begin), end in zip(self._phases, ends, strict=True)
        }

    def _ask(self) -> None:
        how = self._interruption()
        if how is not None:
            raise Interrupted(how)
