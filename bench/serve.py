"""The serving engine driven alone: `python bench/serve.py MODEL_DIR [--random] [--out FILE]`.

Prompts of 128 to 256 random tokens, all started at once, wall time with prefill, each load three
times and the middle one told; with one adapter and with many; the gap between two tokens while
requests keep arriving. `--random`: MODEL_DIR holds config.json and the tokenizer only, weights
are drawn on the device. Without a GPU, smaller loads. bench/serve.ts runs this beside the service.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()  # before the libraries are read

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "bench")]

import torch  # noqa: E402
from bullion.contract.worker import EngineOpening, JsonSchemaFormat  # noqa: E402
from bullion.engine.engine import Engine  # noqa: E402
from bullion.machine import use_threads  # noqa: E402
from serving import card  # noqa: E402
from serving.drive import Drive  # noqa: E402
from serving.load import PLANS, Plan, crowd_name, middle  # noqa: E402
from serving.models import draw_weights_on_the_device, write_adapter  # noqa: E402
from serving.timeline import profile  # noqa: E402

RESULTS: dict[str, Any] = {}


def say(name: str, result: Any) -> None:
    RESULTS[name] = result
    print(f"alone: {name:34} {json.dumps(result)}", flush=True)


def measure(drive: Drive, plan: Plan, name: str, count: int, models: list[str]) -> None:
    if models == ["base"]:
        drive.prompts_of(count)
    rounds = [drive.all_at_once(count, models, plan.new_tokens) for _ in range(plan.rounds)]
    say(name, middle(rounds))


def adapters(drive: Drive, plan: Plan, config: dict[str, Any], scratch: Path) -> list[str]:
    """One stream and the second crowd with one adapter, the crowd with all that the plan has."""
    crowd = plan.crowds[1]
    names: list[str] = []
    for number in range(plan.adapters):
        names.append(f"adapter{number}")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        loaded = drive.load(names[-1], write_adapter(scratch / names[-1], config, number, device))
        if number == 0:
            say("adapter, seconds to load", loaded["seconds"])
            first = [drive.first_token(names[0]) for _ in range(2)]
            say("first token over an adapter, ms: first, second", first)
            for count in (1, crowd):
                drive.all_at_once(count, names, 16)
                measure(drive, plan, f"{crowd_name(count)}, one adapter", count, names)
    if plan.adapters > 1:
        drive.all_at_once(crowd, names, 16)
        measure(drive, plan, f"{crowd_name(crowd)}, {plan.adapters} adapters", crowd, names)
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--no-graphs", action="store_true")
    parser.add_argument("--no-adapters", action="store_true")
    parser.add_argument("--cold", action="store_true", help="no idle moment before the loads")
    parser.add_argument("--prefill-tokens", type=int, default=2048)
    parser.add_argument("--profile", action="store_true", help="kernels of a decode step")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    config = json.loads((asked.model / "config.json").read_text(encoding="utf-8"))
    machine = card.describe()
    plan = PLANS[machine["device"]]
    say("card", machine)
    if machine["copy_tb_per_s"]:
        context = 192 + plan.new_tokens / 2
        for count in plan.crowds:
            rate = card.floor(config, machine["copy_tb_per_s"] * 1e12, count, context)
            say(f"floor, {crowd_name(count)}, tokens/s", round(rate))
    if asked.random:
        draw_weights_on_the_device()
    use_threads(None)  # as the service does
    engine = Engine(
        EngineOpening("engine", None, None, 128, 512, asked.prefill_tokens, not asked.no_graphs)
    )
    drive = Drive(engine, asked.model, config["vocab_size"])
    loaded = drive.load("base")
    drive.all_at_once(1, ["base"], 1)
    say("ready, seconds", round(time.perf_counter() - STARTED, 1))
    say("loaded", {key: value for key, value in loaded.items() if key != "tokenizer"})
    if not asked.cold:
        say("idle seconds until all is warm", drive.warm())
    schema = JsonSchemaFormat("json_schema", {"type": "object", "properties": {"a": {}}})
    first = [drive.first_token("base", format=schema) for _ in range(2)]
    say("first token under a schema, ms: first, second", first)
    for count in plan.crowds:
        drive.all_at_once(count, ["base"], 16)  # first use of what was not compiled yet
        measure(drive, plan, crowd_name(count), count, ["base"])
    say(f"{plan.kept} kept running", drive.kept_running(plan.kept, plan.kept_seconds))
    names = ["base"]
    if not asked.no_adapters:
        with tempfile.TemporaryDirectory() as scratch:
            names = adapters(drive, plan, config, Path(scratch))
    if torch.cuda.is_available():
        if asked.profile:
            for count, models in ((1, ["base"]), (1, names), (64, ["base"]), (64, names)):
                print(*profile(drive, count, models), sep="\n", flush=True)
        say("peak GB", round(torch.cuda.max_memory_allocated() / 1e9, 1))
    if asked.out:
        asked.out.write_text(json.dumps(RESULTS, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
