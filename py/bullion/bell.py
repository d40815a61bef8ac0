"""The bell: a byte on a pipe tells Deno that events wait to be drained, so that it need not ask.

It carries no words, and there is at most one byte that nobody has answered. It owns no events.
"""

from __future__ import annotations

import os


class Bell:
    def __init__(self, pipe: int | None) -> None:
        """`pipe`: a file descriptor that is ours now; None: nobody listens."""
        self._pipe = pipe
        self._rung = False
        if pipe is not None:
            os.set_inheritable(pipe, False)

    @staticmethod
    def of_process() -> Bell:
        """The bell that whoever started this process has put in."""
        named = os.environ.pop("BULLION_BELL_FD", None)
        return Bell(int(named) if named else None)

    def ring(self) -> None:
        """After events were left. Any thread; never waits."""
        if self._rung or self._pipe is None:
            return
        self._rung = True
        try:
            os.write(self._pipe, b".")
        except OSError:
            self._pipe = None  # nobody listens any more: the process is about to end

    def answer(self) -> None:
        """Before the events are taken: those that are left from now on ring again."""
        self._rung = False
