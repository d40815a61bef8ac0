"""Trainer processes for a benchmark: started beforehand, given one job each, killed when asked.

It owns processes and their output, and knows nothing of what a job is for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bullion.contract.decode import encode
from bullion.contract.recipe import TrainSpec

Event = dict[str, Any]


class JobFailed(RuntimeError):
    """A job that ended otherwise than asked; its text is the trainer's own."""


class Trainer:
    """One process for one job. `memory`: what it took of the device, once the job has finished."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("worker_job.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.memory: Event = {}

    def run(self, spec: TrainSpec) -> Iterator[Event]:
        """The events of training `spec`, as they come; ends early after `kill`. Raises JobFailed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        submission = {"type": "train", "id": "job", "spec": encode(spec)}
        self.process.stdin.write(json.dumps(submission) + "\n")
        self.process.stdin.flush()
        ended = False
        for line in self.process.stdout:
            if not line.endswith("\n"):
                break  # the kill came in the middle of a line
            event = json.loads(line)
            if event["type"] == "memory":
                self.memory = event
                continue
            if event["type"] == "failed":
                raise JobFailed(f"{event['error']} (see {self._log})")
            ended = ended or event["type"] == "finished"
            yield event
        code = self.process.wait()
        if not ended and code != -9:
            tail = self._log.read_text(encoding="utf-8")[-2000:]
            raise JobFailed(f"The trainer ended with {code}:\n{tail}")

    def kill(self) -> None:
        self.process.kill()


class Spares:
    """Trainers that read their libraries before they are needed. Use as a context; none outlives it."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._started: list[Trainer] = []
        self._idle: deque[Trainer] = deque()
        for _ in range(count):
            self._idle.append(self._start())

    def take(self) -> Trainer:
        return self._idle.popleft() if self._idle else self._start()

    def __enter__(self) -> Spares:
        return self

    def __exit__(self, *_: object) -> None:
        for trainer in self._started:
            trainer.kill()
            trainer.process.wait()

    def _start(self) -> Trainer:
        trainer = Trainer(self._folder / f"trainer-{len(self._started)}.log")
        self._started.append(trainer)
        return trainer
