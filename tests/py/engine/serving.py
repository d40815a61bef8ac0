"""An engine driven by hand: what tests submit, and what came back, by request and choice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
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
    Prompt,
    Sampling,
    ServedModel,
    TextFormat,
    TokenLogprob,
)
from bullion.engine.engine import Engine


def write_adapter(folder: Path, base: Path, seed: int, rank: int = 4, **settings: Any) -> Path:
    """A LoRA adapter with random A and B on every linear layer, strong enough to change texts."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", **settings)
    tuned = get_peft_model(model, config)
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    tuned.save_pretrained(folder)
    return folder


def sampling(**changes: Any) -> Sampling:
    """Greedy, 16 tokens, never ended by the end token; `changes` say what a test is about."""
    settings: dict[str, Any] = {
        "max_tokens": 16,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "seed": None,
        "stop": [],
        "ignore_eos": True,
    }
    return Sampling(**settings | changes)


def generate(
    id: str,
    prompt: Prompt | list[int],
    model: str = "base",
    n: int = 1,
    logprobs: int | None = None,
    echo: bool = False,
    format: Any = None,
    **changes: Any,
) -> Generate:
    if isinstance(prompt, list):
        prompt = IdsPrompt("ids", prompt)
    form = format or TextFormat("text")
    spec = GenerateSpec(model, prompt, n, sampling(**changes), logprobs, echo, form)
    return Generate("generate", id, spec)


class Serving:
    """An engine with what its requests have answered so far."""

    def __init__(self, engine: Engine, base: Path) -> None:
        self.engine = engine
        self.base = base
        self.texts: dict[tuple[str, int], str] = {}
        self.tokens: dict[tuple[str, int], list[TokenLogprob]] = {}
        self.finish: dict[tuple[str, int], str] = {}
        self.done: dict[str, DoneEvent] = {}
        self.failed: dict[str, FailedEvent] = {}
        self.finished: dict[str, FinishedEvent] = {}
        self.deltas: list[DeltaEvent] = []

    def load(self, name: str = "base", adapter: Path | None = None) -> dict[str, Any]:
        model = BaseModel(name, str(self.base), None, False)
        over = str(adapter) if adapter else None
        self.engine.submit(Load("load", f"load-{name}", ServedModel(name, model, over)))
        self.run()
        assert f"load-{name}" not in self.failed, self.failed[f"load-{name}"].error
        return self.finished[f"load-{name}"].result

    def step(self) -> None:
        for event in self.engine.step():
            if isinstance(event, DeltaEvent):
                key = (event.id, event.index)
                assert key not in self.finish, "a delta after the end"
                self.deltas.append(event)
                self.texts[key] = self.texts.get(key, "") + event.text
                self.tokens.setdefault(key, []).extend(event.tokens or [])
                if event.finish_reason:
                    self.finish[key] = event.finish_reason
            elif isinstance(event, DoneEvent):
                self.done[event.id] = event
            elif isinstance(event, FailedEvent):
                self.failed[event.id] = event
            elif isinstance(event, FinishedEvent):
                self.finished[event.id] = event

    def run(self, work: Iterable[Any] = ()) -> None:
        for each in work:
            self.engine.submit(each)
        steps = 0
        while self.engine.busy:
            self.step()
            steps += 1
            assert steps < 20000, "the engine does not come to rest"

    def text(self, work: Generate, index: int = 0) -> str:
        """The answer to one request that runs with nothing beside it."""
        self.run([work])
        assert work.id not in self.failed, self.failed[work.id].error
        return self.texts[(work.id, index)]
