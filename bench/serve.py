"""The serving engine driven alone: `python bench/serve.py MODEL_DIR [--random] [--out FILE]`.

Prompts of 128 to 256 random tokens, 256 new tokens each, all started at once, wall time with
prefill; one stream, 64 and 128; with one adapter and with eight; time to first token; the gap
between two tokens while requests keep arriving. `--random`: MODEL_DIR holds config.json and the
tokenizer only, weights are drawn on the device. Without a GPU, smaller loads beside transformers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "bench")]

import torch  # noqa: E402
from bullion.contract.worker import EngineOpening  # noqa: E402
from bullion.engine.engine import Engine  # noqa: E402
from serving.drive import Drive  # noqa: E402
from serving.models import (  # noqa: E402
    draw_weights_on_the_device,
    transformers_speed,
    write_adapter,
)
from serving.timeline import profile  # noqa: E402

MEMORY_BYTES_PER_S = 4.3e12
RESULTS: dict[str, Any] = {}


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
        for count, models in ((1, ["base"]), (1, names), (64, ["base"]), (64, names)):
            print(*profile(drive, count, models), sep="\n", flush=True)
    say("peak GB", round(torch.cuda.max_memory_allocated() / 1e9, 1))


def on_cpu(drive: Drive, scratch: Path, config: dict[str, Any]) -> None:
    drive.all_at_once(1, ["base"], 16)
    say("1 stream", drive.all_at_once(1, ["base"], 64))
    say("8 streams", drive.all_at_once(8, ["base"], 64))
    drive.load("adapter", write_adapter(scratch / "adapter", config, 0, torch.device("cpu")))
    say("8 streams, one adapter", drive.all_at_once(8, ["adapter"], 64))
    say("transformers, 1 stream, tokens/s", transformers_speed(drive.model, 64))


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
