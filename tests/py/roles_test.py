"""When an engine's thread sleeps, and when it gets ready for what may come."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bullion.roles
from bullion.bell import Bell
from bullion.contract.worker import Cancellation, EngineOpening
from bullion.roles import QUIET_S, EngineRole


@dataclass
class Inbox:
    """Gives what is in it and notes how it was asked."""

    work: list[Any] = field(default_factory=list)
    asked: list[tuple[bool, float | None]] = field(default_factory=list)

    def get(self, block: bool, timeout: float | None) -> Any:
        self.asked.append((block, timeout))
        if self.work:
            return self.work.pop(0)
        raise queue.Empty


@dataclass
class Engine:
    busy: bool = False
    cold: bool = True
    cancelled: list[str] = field(default_factory=list)

    def cancel(self, id: str) -> None:
        self.cancelled.append(id)


def role_with(inbox: Inbox) -> EngineRole:
    role = EngineRole(EngineOpening("engine", None, None, 8, 8, 512, True), Bell(None))
    role._inbox = inbox  # type: ignore[assignment]
    return role


def test_a_cold_engine_gets_ready_only_after_a_quiet_moment_and_then_without_pauses() -> None:
    inbox, engine = Inbox(), Engine()
    role = role_with(inbox)
    for _ in range(3):
        role._take_in(engine)
    assert inbox.asked == [(True, QUIET_S), (True, 0.0), (True, 0.0)]
    inbox.work.append(Cancellation("r", "cancel"))
    role._take_in(engine)
    assert engine.cancelled == ["r"]
    inbox.asked.clear()
    role._take_in(engine)
    assert inbox.asked == [(True, QUIET_S)]


def test_a_busy_engine_is_not_kept_from_its_step_and_a_warm_one_sleeps() -> None:
    inbox = Inbox()
    role = role_with(inbox)
    role._take_in(Engine(busy=True))
    assert inbox.asked == [(False, QUIET_S)]  # a time limit without blocking is none
    role._take_in(Engine(cold=False))
    assert inbox.asked[1:] == [(True, None)]


DYING = """
import sys
import bullion.roles
from bullion.bell import Bell
from bullion.contract.worker import EngineOpening, ReadyEvent
from bullion.roles import EngineRole

class Role(EngineRole):
    def _work(self):
        self._opened = OPENED
        raise BaseException("a panic")

role = Role(EngineOpening("engine", None, None, 8, 8, 512, True), Bell(None))
role.start()
role._thread.join()
print([event.error.message for event in role.drain()])
"""


def run(opened: bool) -> subprocess.CompletedProcess[str]:
    program = DYING.replace("OPENED", str(opened))
    env = os.environ | {"PYTHONPATH": str(Path(bullion.roles.__file__).parents[1])}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)


def test_a_process_whose_working_thread_dies_ends_with_it() -> None:
    ended = run(opened=True)
    assert ended.returncode == 1 and "a panic" in ended.stderr and not ended.stdout


def test_a_fault_before_a_process_is_ready_is_told() -> None:
    ended = run(opened=False)
    assert ended.returncode == 0 and "a panic" in ended.stdout
