"""The serving engine driven alone: `python bench/serve.py MODEL_DIR [--random] [--out FILE]`.

Prompts of 128 to 256 random tokens, 256 new tokens each, all started at once, wall time with
prefill; one stream, 64 and 128; with one adapter and with eight; time to first token; the gap
between two tokens while requests keep arriving. `--random`: MODEL_DIR holds config.json and the
tokenizer only, weights are drawn on the device. Without a GPU, smaller loads beside transformers.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "bench")]

import torch  # noqa: E402
from bullion.contract.recipe import BaseModel  # noqa: E402
from bullion.contract.worker import (  # noqa: E402
    DeltaEvent,
    DoneEvent,
    EngineOpening,
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
from bullion.engine.engine import Engine  # noqa: E402

MEMORY_BYTES_PER_S = 4.3e12
NEW_TOKENS = 256
RESULTS: dict[str, Any] = {}


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


def profile(drive: Drive, count: int, models: list[str], steps: int = 20) -> list[str]:
    """Where the device's time of a decode step goes: microseconds a step by kernel."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recording

    drive.streams.clear()
    for i in range(count):
        drive.submit(models[i % len(models)], 192, 64)
    while any(len(s.arrivals) < 4 for s in drive.streams.values()):
        drive.step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    with recording(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(steps):
            drive.step()
        torch.cuda.synchronize()
    wall = (time.perf_counter() - began) / steps * 1e6
    while not all(s.done for s in drive.streams.values()):
        drive.step()
    kernels = sorted(found.key_averages(), key=lambda e: -e.device_time_total)
    total = sum(e.device_time_total for e in kernels) / steps
    lines = [f"{count} streams: {wall:.0f} us a step of wall time, {total:.0f} us in kernels"]
    for each in kernels[:14]:
        spent, calls = each.device_time_total / steps, each.count / steps
        lines.append(f"{spent:8.0f} us {calls:6.0f} calls  {each.key[:90]}")
    return lines


def write_adapter(folder: Path, config: dict[str, Any], seed: int, device: torch.device) -> Path:
    """A rank-8 adapter on every linear layer, random."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    hidden, mlp = config["hidden_size"], config["intermediate_size"]
    size = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    shapes = {
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (mlp, hidden),
        "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
    }
    source = torch.Generator(device=device).manual_seed(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, (out, inside) in shapes.items():
            key = f"base_model.model.model.layers.{layer}.{name}"
            for part, shape in (("lora_A", (8, inside)), ("lora_B", (out, 8))):
                drawn = torch.randn(shape, generator=source, device=device) * 0.01
                tensors[f"{key}.{part}.weight"] = drawn.to(torch.bfloat16).cpu()
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    written = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
    (folder / "adapter_config.json").write_text(json.dumps(written))
    return folder


def draw_weights_on_the_device() -> None:
    """Puts random weights where the engine would read files."""
    from bullion.engine import engine as module
    from bullion.models.llama import LlamaLayer, LlamaWeights

    def drawn(folder: Path, shape: Any, device: torch.device, dtype: torch.dtype) -> Any:
        def matrix(out: int, inside: int) -> torch.Tensor:
            return torch.empty(out, inside, device=device, dtype=dtype).normal_(0, 0.02)

        def norm() -> torch.Tensor:
            return torch.ones(shape.hidden_size, device=device, dtype=dtype)

        h, i = shape.hidden_size, shape.intermediate_size
        layers = []
        for _ in range(shape.layers):
            qkv = matrix(shape.q_size + 2 * shape.kv_size, h)
            o, gate_up, down = matrix(h, shape.q_size), matrix(2 * i, h), matrix(h, i)
            layers.append(LlamaLayer(norm(), qkv, None, o, None, norm(), gate_up, None, down, None))
            yield
        head = matrix(shape.vocab_size, h)
        return LlamaWeights(shape, matrix(shape.vocab_size, h), layers, norm(), head)

    module.load_llama = drawn  # type: ignore[assignment]


def say(name: str, result: Any) -> None:
    RESULTS[name] = result
    print(f"{name:34} {json.dumps(result)}", flush=True)


def on_gpu(drive: Drive, config: dict[str, Any], scratch: Path, profiled: bool) -> None:
    weights = sum(
        2 * n for n in (parameters(config) - config["vocab_size"] * config["hidden_size"],)
    )
    say("floor, one stream, tokens/s", round(MEMORY_BYTES_PER_S / weights))
    drive.all_at_once(4, ["base"], 32)  # first use of what was not compiled yet
    say("1 stream", drive.all_at_once(1, ["base"]))
    say("1 stream again", drive.all_at_once(1, ["base"]))
    say("64 streams", drive.all_at_once(64, ["base"]))
    say("128 streams", drive.all_at_once(128, ["base"]))
    say("64 kept running", drive.arriving(64, 6.0))
    names = []
    for number in range(8):
        names.append(f"adapter{number}")
        folder = write_adapter(scratch / names[-1], config, number, torch.device("cuda"))
        loaded = drive.load(names[-1], folder)
        if number == 0:
            say("adapter, seconds to load", loaded["seconds"])
            drive.all_at_once(1, names, 16)
            drive.all_at_once(64, names, 16)
            say("1 stream, one adapter", drive.all_at_once(1, names))
            say("64 streams, one adapter", drive.all_at_once(64, names))
    drive.all_at_once(64, names, 16)
    say("64 streams, eight adapters", drive.all_at_once(64, names))
    if profiled:
        for count, models in ((1, ["base"]), (64, ["base"]), (64, names)):
            print(*profile(drive, count, models), sep="\n", flush=True)
    say("peak GB", round(torch.cuda.max_memory_allocated() / 1e9, 1))


def on_cpu(drive: Drive, scratch: Path, config: dict[str, Any]) -> None:
    drive.all_at_once(1, ["base"], 16)
    say("1 stream", drive.all_at_once(1, ["base"], 64))
    say("8 streams", drive.all_at_once(8, ["base"], 64))
    drive.load("adapter", write_adapter(scratch / "adapter", config, 0, torch.device("cpu")))
    say("8 streams, one adapter", drive.all_at_once(8, ["adapter"], 64))
    say("transformers, 1 stream, tokens/s", transformers_speed(drive.model, 64))


def transformers_speed(folder: Path, new: int) -> float:
    """transformers' own generate, one stream, greedy, fp32."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.randint(0, 1000, (1, 192))
    for count in (8, new):
        began = time.perf_counter()
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
        )
    return round(new / (time.perf_counter() - began), 1)


def parameters(config: dict[str, Any]) -> int:
    from bullion.models.llama import LlamaShape

    return LlamaShape.from_config(config, "model").parameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--no-graphs", action="store_true")
    parser.add_argument("--prefill-tokens", type=int, default=2048)
    parser.add_argument("--profile", action="store_true", help="kernels of a decode step")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    config = json.loads((asked.model / "config.json").read_text(encoding="utf-8"))
    if asked.random:
        draw_weights_on_the_device()
    began = time.perf_counter()
    engine = Engine(
        EngineOpening("engine", None, None, 128, 256, asked.prefill_tokens, not asked.no_graphs)
    )
    drive = Drive(engine, asked.model, config["vocab_size"])
    loaded = drive.load("base")
    say("ready, seconds", round(time.perf_counter() - began, 1))
    say("loaded", loaded)
    with tempfile.TemporaryDirectory() as scratch:
        if torch.cuda.is_available():
            on_gpu(drive, config, Path(scratch), asked.profile)
        else:
            on_cpu(drive, Path(scratch), config)
    if asked.out:
        asked.out.write_text(json.dumps(RESULTS, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
