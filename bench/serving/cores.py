"""Processor time of a service, its children and this process while a load runs. Linux only."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Shares:
    """From its making to `told()`: shares of one core."""

    def __init__(self, service: int) -> None:
        self._service = service
        self._began = (time.perf_counter(), self._spent())

    def told(self) -> dict[str, float]:
        wall = time.perf_counter() - self._began[0]
        before, now = self._began[1], self._spent()
        return {who: round((now[who] - before[who]) / wall, 2) for who in now}

    def _spent(self) -> dict[str, float]:
        tasks = Path(f"/proc/{self._service}/task")
        children = {c for t in tasks.iterdir() for c in (t / "children").read_text().split()}
        return {
            "client": time.process_time(),
            "deno": _processor_seconds(self._service),
            "python": sum(_processor_seconds(int(child)) for child in children),
        }


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
