"""Drives an engine in this process and takes the times of every token. Decides no load."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bullion.contract.recipe import BaseModel
from bullion.contract.worker import (
    DeltaEvent,
    DoneEvent,
    FailedEvent,
    FinishedEvent,
    Generate,
    GenerateSpec,
    IdsPrompt,
    Load,
    Sampling,
    ServedModel,
    TextFormat,
)
from bullion.engine.engine import Engine

NEW_TOKENS = 256


@dataclass
class Stream:
    """Times of one request, seconds on one clock."""

    started: float
    arrivals: list[float] = field(default_factory=list)
    tokens: int = 0
    done: bool = False


class Drive:
    """Submits requests and steps the engine until all have ended."""

    def __init__(self, engine: Engine, model: Path, vocabulary: int) -> None:
        self.engine = engine
        self.model = model
        self.vocabulary = vocabulary
        self.streams: dict[str, Stream] = {}
        self._serial = 0

    def load(self, name: str, adapter: Path | None = None) -> dict[str, Any]:
        over = str(adapter) if adapter else None
        base = BaseModel("base", str(self.model), None, False)
        self.engine.submit(Load("load", name, ServedModel(name, base, over)))
        while True:
            for event in self.engine.step():
                if isinstance(event, FinishedEvent) and event.id == name:
                    return event.result
                if isinstance(event, FailedEvent):
                    raise SystemExit(event.error.message)

    def submit(self, model: str, prompt: int, new: int = NEW_TOKENS) -> Stream:
        self._serial += 1
        id = f"r{self._serial}"
        chance = random.Random(self._serial)
        most = self.vocabulary - 300  # below the control tokens
        ids = [chance.randrange(most) for _ in range(prompt)]
        sampling = Sampling(new, 0.0, 1.0, 0, 0.0, 1.0, 0.0, 0.0, {}, None, [], True)
        stream = self.streams[id] = Stream(time.perf_counter())
        spec = GenerateSpec(
            model, IdsPrompt("ids", ids), 1, sampling, None, False, TextFormat("text")
        )
        self.engine.submit(Generate("generate", id, spec))
        return stream

    def step(self) -> None:
        events = self.engine.step()
        now = time.perf_counter()
        for event in events:
            if isinstance(event, DeltaEvent):
                stream = self.streams[event.id]
                stream.tokens += event.count
                stream.arrivals.append(now)
            elif isinstance(event, DoneEvent):
                self.streams[event.id].done = True
            elif isinstance(event, FailedEvent):
                raise SystemExit(f"{event.error.code}: {event.error.message}")

    def all_at_once(self, count: int, models: list[str], new: int = NEW_TOKENS) -> dict[str, Any]:
        """`count` requests over `models` in turn; tokens a second of wall time, prefill included."""
        self.streams.clear()
        chance = random.Random(count)
        began = time.perf_counter()
        for i in range(count):
            self.submit(models[i % len(models)], chance.randint(128, 256), new)
        while not all(s.done for s in self.streams.values()):
            self.step()
        seconds = time.perf_counter() - began
        streams = list(self.streams.values())
        first = sorted(s.arrivals[0] - s.started for s in streams)
        gaps = [b - a for s in streams for a, b in zip(s.arrivals, s.arrivals[1:], strict=False)]
        tokens = sum(s.tokens for s in streams)
        return {
            "streams": count,
            "tokens": tokens,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1),
            "first_token_ms": round(statistics.median(first) * 1e3, 1),
            "gap_p50_ms": round(quantile(gaps, 0.5) * 1e3, 2),
            "gap_p95_ms": round(quantile(gaps, 0.95) * 1e3, 2),
        }

    def arriving(self, running: int, seconds: float) -> dict[str, Any]:
        """Keeps `running` streams alive: whenever one ends, another comes. Gaps between tokens."""
        self.streams.clear()
        chance = random.Random(9)
        ends = time.perf_counter() + seconds
        finished = 0
        for _ in range(running):
            self.submit("base", chance.randint(128, 256), chance.randint(32, 256))
        while any(not s.done for s in self.streams.values()):
            self.step()
            gone = sum(s.done for s in self.streams.values())
            while finished < gone:
                finished += 1
                if time.perf_counter() < ends:
                    self.submit("base", chance.randint(128, 256), chance.randint(32, 256))
        gaps = [
            b - a
            for s in self.streams.values()
            for a, b in zip(s.arrivals, s.arrivals[1:], strict=False)
        ]
        return {
            "requests": len(self.streams),
            "gap_p50_ms": round(quantile(gaps, 0.5) * 1e3, 2),
            "gap_p95_ms": round(quantile(gaps, 0.95) * 1e3, 2),
            "gap_max_ms": round(max(gaps) * 1e3, 2),
        }


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0
