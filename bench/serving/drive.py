"""Drives an engine in this process and takes the times of every token. Decides no load."""

from __future__ import annotations

import time
from collections.abc import Callable
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
    ResponseFormat,
    Sampling,
    ServedModel,
    TextFormat,
)
from bullion.engine.engine import Engine

from serving.load import (
    Stream,
    arrivals,
    crowd_serial,
    figures_at_once,
    figures_kept,
    prompt_ids,
    prompt_lengths,
)


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

    def prompts_of(self, crowd: int) -> None:
        """The next prompts are those that a crowd over HTTP has: whose first tokens write whole
        characters, and so are seen, is theirs to say."""
        self._serial = crowd_serial(crowd)

    def prompt(self, length: int) -> list[int]:
        self._serial += 1
        return prompt_ids(self._serial, length, self.vocabulary)

    def submit(
        self, model: str, ids: list[int], new: int, format: ResponseFormat | None = None
    ) -> Stream:
        id = f"r{len(self.streams)}"
        sampling = Sampling(new, 0.0, 1.0, 0, 0.0, 1.0, 0.0, 0.0, {}, None, [], True)
        stream = self.streams[id] = Stream(time.perf_counter())
        spec = GenerateSpec(
            model, IdsPrompt("ids", ids), 1, sampling, None, False, format or TextFormat("text")
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

    def warm(self) -> float:
        """Seconds until an idle engine has made everything ready that it can."""
        began = time.perf_counter()
        while self.engine.cold:
            self.engine.step()
        return round(time.perf_counter() - began, 2)

    def first_token(
        self, model: str, length: int = 192, format: ResponseFormat | None = None
    ) -> float:
        """Milliseconds to the first token of a request alone, which then ends."""
        self.streams.clear()
        stream = self.submit(model, self.prompt(length), 2, format)
        while not stream.done:
            self.step()
        return round((stream.arrivals[0] - stream.started) * 1e3, 1)

    def all_at_once(self, count: int, models: list[str], new: int) -> dict[str, Any]:
        """`count` requests over `models` in turn."""
        self.streams.clear()
        prompts = [self.prompt(length) for length in prompt_lengths(count)]
        began = time.perf_counter()
        for i, ids in enumerate(prompts):
            self.submit(models[i % len(models)], ids, new)
        while not all(s.done for s in self.streams.values()):
            self.step()
        seconds = time.perf_counter() - began
        return figures_at_once(list(self.streams.values()), seconds)

    def kept_running(self, count: int, seconds: float) -> dict[str, Any]:
        """Keeps `count` streams alive: whenever one ends, another comes."""
        self.streams.clear()
        following = arrivals(count)
        ends = time.perf_counter() + seconds
        finished = 0
        for _ in range(count):
            self._another(following)
        while any(not s.done for s in self.streams.values()):
            self.step()
            gone = sum(s.done for s in self.streams.values())
            while finished < gone:
                finished += 1
                if time.perf_counter() < ends:
                    self._another(following)
        return figures_kept(list(self.streams.values()))

    def _another(self, following: Callable[[], tuple[int, int]]) -> None:
        length, new = following()
        self.submit("base", self.prompt(length), new)
