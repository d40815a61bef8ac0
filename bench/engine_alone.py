"""Drives the engine in this process, without bridge or HTTP: `python bench/engine_alone.py WORK.json`.

WORK.json: {"model": folder, "opening": EngineOpening, "prompts": [[ids]], "new_tokens": N, "rounds": R}.
Prints one JSON line a round: {"tokens", "seconds"}, all prompts started at once. The peer of
bench/bridge.ts, which writes the work and runs it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from bullion.contract.decode import decode
from bullion.contract.recipe import BaseModel
from bullion.contract.worker import (
    DeltaEvent,
    DoneEvent,
    EngineOpening,
    FailedEvent,
    Generate,
    GenerateSpec,
    IdsPrompt,
    Load,
    Sampling,
    ServedModel,
    TextFormat,
)
from bullion.engine.engine import Engine
from bullion.machine import use_threads


def greedy(new_tokens: int) -> Sampling:
    return Sampling(new_tokens, 0.0, 1.0, 0, 0.0, 1.0, 0.0, 0.0, {}, None, [], True)


def play(engine: Engine, prompts: list[list[int]], new_tokens: int) -> tuple[int, float]:
    """Tokens that came out and the seconds it took, prompts included."""
    started = time.perf_counter()
    for index, ids in enumerate(prompts):
        prompt = IdsPrompt("ids", ids)
        spec = GenerateSpec("model", prompt, 1, greedy(new_tokens), None, False, TextFormat("text"))
        engine.submit(Generate("generate", str(index), spec))
    tokens, left = 0, len(prompts)
    while left:
        for event in engine.step():
            if isinstance(event, FailedEvent):
                raise RuntimeError(event.error.message)
            if isinstance(event, DeltaEvent):
                tokens += event.count
            left -= isinstance(event, DoneEvent)
    return tokens, time.perf_counter() - started


def main(path: str) -> None:
    work = json.loads(Path(path).read_text())
    opening = decode(EngineOpening, work["opening"])
    use_threads(opening.threads)
    engine = Engine(opening)
    base = BaseModel("model", work["model"], None, False)
    engine.submit(Load("load", "load", ServedModel("model", base, None)))
    while engine.busy:
        engine.step()
    for _ in range(work["rounds"]):
        tokens, seconds = play(engine, work["prompts"], work["new_tokens"])
        print(json.dumps({"tokens": tokens, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
