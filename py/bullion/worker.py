"""The facade that Deno calls: five functions that take and return JSON strings.

They run on pythonia's one reading thread and only queue and drain; the work runs on one thread that
owns the GPU, kept in `bullion.roles`. Nothing here raises across the bridge, waits, or imports torch.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from bullion.bell import Bell
from bullion.contract.decode import decode, encode
from bullion.contract.errors import Refusal, detail_of
from bullion.contract.wire import drained
from bullion.contract.worker import Cancellation, Opening, Submission
from bullion.roles import Role, role_for

_role: Role | None = None


def open(text: str) -> str:
    """Takes the process' role (`Opening`) and starts its thread; a `ready` event follows."""

    def act() -> dict[str, Any]:
        global _role
        if _role is not None:
            raise Refusal("already_open", "This process has a role already")
        opening: Opening = decode(Opening, json.loads(text))
        _leave_signals_to_parent()
        _end_with_parent()
        _role = role_for(opening, Bell.of_process())
        _role.start()
        return {}

    return _answer(act)


def submit(text: str) -> str:
    """Queues a `Submission`; its events carry its id."""
    return _answer(lambda: _open_role().submit(decode(Submission, json.loads(text))) or {})


def cancel(text: str) -> str:
    """Asks work to end (`Cancellation`); an unknown id is no error, it may just have ended."""
    return _answer(lambda: _open_role().cancel(decode(Cancellation, json.loads(text))) or {})


def drain() -> str:
    """All events since the last call, in order: `{"events": […]}`."""
    return _answered(lambda: drained(_open_role().drain()))


def status() -> str:
    """What the role says of itself, as JSON values."""
    return _answer(lambda: _open_role().status())


def _open_role() -> Role:
    if _role is None:
        raise Refusal("not_open", "This process has no role yet: call open first")
    return _role


def _answer(act: Callable[[], Any]) -> str:
    return _answered(lambda: json.dumps(act(), allow_nan=False))


def _answered(act: Callable[[], str]) -> str:
    """`act` returns JSON text."""
    try:
        return f'{{"ok": {act()}}}'
    except Exception as raised:
        if not isinstance(raised, Refusal):
            traceback.print_exc(file=sys.stderr)
        return json.dumps({"error": encode(detail_of(raised))})


def _leave_signals_to_parent() -> None:
    """A terminal's Ctrl-C reaches the whole process group; the service asks for a checkpoint then."""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)


def _end_with_parent() -> None:
    """No interpreter outlives the service: the kernel's signal on Linux, the closed channel elsewhere."""
    parent = int(os.environ.get("BULLION_PARENT_PID", "0"))
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if parent and os.getppid() != parent:
        os._exit(1)

    def leave_when_channel_closes() -> None:
        threading.main_thread().join()
        os._exit(0)

    threading.Thread(target=leave_when_channel_closes, name="leave", daemon=True).start()
