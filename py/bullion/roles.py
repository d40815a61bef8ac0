"""The two roles of a Python process, each with the one thread that owns its tensors.

A role takes submissions from the reading thread, works on its own, and leaves events to be drained.
It knows neither what training nor what decoding is.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

from bullion.bell import Bell
from bullion.contract.errors import Refusal, detail_of
from bullion.contract.worker import (
    Cancellation,
    Encode,
    EngineOpening,
    Event,
    Export,
    FailedEvent,
    Opening,
    Probe,
    ReadyEvent,
    Submission,
    Train,
    TrainerOpening,
)

SPARE_AFTER_S = 0.3
"""A trainer that has had nothing to do for so long was started beforehand."""
QUIET_S = 0.5
"""An engine that has had nothing to do for so long gets ready for more; one who asks right after an
answer must not wait for that."""


class Role(ABC):
    """What both roles share: an inbox, an outbox, and a thread that a fault never ends silently."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._outbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="work", daemon=True)
        self._opened = False  # the libraries are there, and work has been asked for

    def start(self) -> None:
        self._thread.start()

    def drain(self) -> list[Event]:
        """All events since the last call. Any thread."""
        events = []
        self._bell.answer()
        while True:
            try:
                events.append(self._outbox.get_nowait())
            except queue.Empty:
                return events

    @abstractmethod
    def submit(self, work: Submission) -> None: ...

    @abstractmethod
    def cancel(self, cancellation: Cancellation) -> None: ...

    @abstractmethod
    def status(self) -> dict[str, Any]: ...

    @abstractmethod
    def _work(self) -> None:
        """Runs on the role's thread until the process ends."""

    def _leave(self, *events: Event) -> None:
        """Puts events where they are drained from."""
        for event in events:
            self._outbox.put(event)
        if events:
            self._bell.ring()

    def _fail(self, id: str, raised: BaseException) -> None:
        if not isinstance(raised, Refusal):
            traceback.print_exception(raised, file=sys.stderr)
        self._leave(FailedEvent(id, detail_of(raised)))

    def _run(self) -> None:
        try:
            self._work()
        except ModuleNotFoundError as raised:
            missing = Refusal(
                "python_module_missing",
                f"Python has no module {raised.name}: run `deno task setup`, or install it into "
                "the interpreter that BULLION_PYTHON names",
            )
            missing.__cause__ = raised
            traceback.print_exception(raised, file=sys.stderr)
            self._fail("", missing)
        except BaseException as raised:
            if not self._opened:
                self._fail("", raised)
                return
            # whoever waits for this thread would wait for ever; a process that ends is started again
            traceback.print_exception(raised, file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)


class TrainerRole(Role):
    """Runs submitted work one after the other: training, export, encoding, probing."""

    def __init__(self, opening: TrainerOpening, bell: Bell) -> None:
        super().__init__(bell)
        self._threads = opening.threads
        self._inbox: queue.SimpleQueue[Submission] = queue.SimpleQueue()
        self._asked: dict[str, Literal["cancel", "pause"]] = {}
        self._running: str | None = None

    def submit(self, work: Submission) -> None:
        if not isinstance(work, (Train, Export, Encode, Probe)):
            raise Refusal("wrong_role", f"A trainer cannot {work.type}", "type")
        self._inbox.put(work)

    def cancel(self, cancellation: Cancellation) -> None:
        self._asked[cancellation.id] = cancellation.how

    def status(self) -> dict[str, Any]:
        return {"role": "trainer", "running": self._running}

    def _work(self) -> None:
        from bullion.machine import describe, use_threads

        use_threads(self._threads)
        self._leave(ReadyEvent(describe(open_device=False)))
        self._opened = True
        while True:
            work = self._next()
            self._running = work.id
            try:
                for event in self._events(work):
                    self._leave(event)
            except BaseException as raised:
                self._fail(work.id, raised)
            self._running = None

    def _next(self) -> Submission:
        """The next work. While there is none, reads the libraries that training and export need."""
        try:
            return self._inbox.get(timeout=SPARE_AFTER_S)
        except queue.Empty:
            import bullion.export.recipe
            import bullion.train.recipe  # noqa: F401

            return self._inbox.get()

    def _events(self, work: Submission) -> Iterator[Event]:
        def interruption() -> Literal["cancel", "pause"] | None:
            return self._asked.get(work.id)

        if isinstance(work, Train):
            from bullion.train.recipe import train

            return train(work.spec, work.id, interruption)
        if isinstance(work, Export):
            from bullion.export.recipe import export

            return export(work.spec, work.id, interruption)
        if isinstance(work, Encode):
            from bullion.train.encode import encode

            return encode(work.spec, work.id, interruption)
        from bullion.machine import probe

        return probe(work.id)


class EngineRole(Role):
    """Runs the serving engine: takes what has come in, then one step, for as long as it lives."""

    def __init__(self, opening: EngineOpening, bell: Bell) -> None:
        super().__init__(bell)
        self._opening = opening
        self._inbox: queue.SimpleQueue[Submission | Cancellation] = queue.SimpleQueue()
        self._engine: Any = None
        self._resting = False  # nobody has asked for anything for a while

    def submit(self, work: Submission) -> None:
        if isinstance(work, (Train, Export, Encode, Probe)):
            raise Refusal("wrong_role", f"An engine cannot {work.type}", "type")
        self._inbox.put(work)

    def cancel(self, cancellation: Cancellation) -> None:
        self._inbox.put(cancellation)

    def status(self) -> dict[str, Any]:
        engine = self._engine
        return {"role": "engine"} | (engine.status() if engine is not None else {})

    def _work(self) -> None:
        from bullion.engine.engine import Engine
        from bullion.machine import describe, use_threads

        use_threads(self._opening.threads)
        engine = self._engine = Engine(self._opening)
        self._leave(ReadyEvent(describe(open_device=True)))
        self._opened = True
        while True:
            self._take_in(engine)
            self._leave(*engine.step())

    def _take_in(self, engine: Any) -> None:
        """Hands over what has come in; with nothing to step on, sleeps until something comes, or
        until it has been quiet for long enough to get ready for more."""
        wait = not engine.busy
        quiet = (0.0 if self._resting else QUIET_S) if engine.cold else None
        while True:
            try:
                work = self._inbox.get(block=wait, timeout=quiet)
            except queue.Empty:
                self._resting = wait
                return
            wait = self._resting = False
            try:
                if isinstance(work, Cancellation):
                    engine.cancel(work.id)
                else:
                    engine.submit(work)
            except Exception as raised:
                self._fail(work.id, raised)


def role_for(opening: Opening, bell: Bell) -> Role:
    if isinstance(opening, EngineOpening):
        return EngineRole(opening, bell)
    return TrainerRole(opening, bell)
