"""Transformers on the same weights and prompts: `python bench/serving/peers.py MODEL_DIR WAY --out FILE`.

WAY: `generate` (one stream), `compiled` (one stream, static cache, which Transformers compiles on a
GPU), `batching` (its continuous batching, the second crowd of serving/load.py). A way that this
version or machine lacks is a row that says so, not a failure. Fewer rounds than ours have: theirs
take longer and differ less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "bench")]

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoModelForCausalLM, GenerationConfig  # noqa: E402

from serving.load import PLANS, Plan, crowd_name, prompt_ids, prompt_lengths  # noqa: E402

SERIAL = 1_000_000  # prompts that nobody else was asked
ROUNDS = 2
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def load(folder: Path, attention: str) -> Any:
    dtype = torch.bfloat16 if DEVICE == "cuda" else torch.float32
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation=attention, device_map=DEVICE
    ).eval()


def generate(folder: Path, plan: Plan, **more: Any) -> dict[str, Any]:
    """One prompt of 192 tokens, greedy; the rounds after one that warms up."""
    model = load(folder, "sdpa")
    new = plan.new_tokens
    speeds, first = [], 0.0
    for number in range(1 + ROUNDS):
        ids = torch.tensor([prompt_ids(SERIAL + number, 192, model.config.vocab_size)])
        ids = ids.to(DEVICE)
        began = time.perf_counter()
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
            **more,
        )
        count = len(out[0].tolist()) - 192  # the list waits for the device
        seconds = time.perf_counter() - began
        if number == 0:
            first = seconds
        else:
            speeds.append(round(count / seconds, 1))
    return {
        crowd_name(1): statistics.median(speeds),
        "rounds": speeds,
        "first_call_seconds": round(first, 1),
    }


def compiled(folder: Path, plan: Plan) -> dict[str, Any]:
    if DEVICE == "cpu":
        raise RuntimeError("Transformers compiles a static cache on GPUs only")
    return generate(folder, plan, cache_implementation="static")


def batching(folder: Path, plan: Plan) -> dict[str, Any]:
    """All prompts handed over at once, tokens of wall time; the manager and its graphs are warm."""
    from transformers import ContinuousBatchingConfig

    settings = ContinuousBatchingConfig()
    attention = "paged|sdpa"
    if hasattr(settings, "auto_switch_to_flash"):  # newer: no prefix any more
        settings.auto_switch_to_flash, attention = False, "sdpa"
    model = load(folder, attention)
    new = plan.new_tokens
    greedy = GenerationConfig(
        max_new_tokens=new, do_sample=False, eos_token_id=-1, pad_token_id=0, bos_token_id=0
    )
    count = plan.crowds[1]
    serial = SERIAL

    def prompts() -> list[list[int]]:
        nonlocal serial
        serial += count
        lengths = enumerate(prompt_lengths(count), serial)
        return [prompt_ids(number, length, model.config.vocab_size) for number, length in lengths]

    began = time.perf_counter()
    with model.continuous_batching_context_manager(
        generation_config=greedy, continuous_batching_config=settings, block=True, timeout=5
    ) as manager:
        _crowd(manager, prompts(), 16)
        warm = round(time.perf_counter() - began, 1)
        speeds = [_crowd(manager, prompts(), new) for _ in range(ROUNDS)]
    return {
        crowd_name(count): statistics.median(speeds),
        "rounds": speeds,
        "warmup_seconds": warm,
        "attention": attention,
    }


def _crowd(manager: Any, prompts: list[list[int]], new: int) -> float:
    """Tokens a second of wall time."""
    began = time.perf_counter()
    manager.add_requests(inputs=prompts, max_new_tokens=new)
    tokens, left = 0, len(prompts)
    while left:
        answer = manager.get_result(timeout=1)
        if answer is None:
            if not manager.is_running():
                raise RuntimeError("the thread of Transformers' continuous batching ended")
            continue
        if answer.is_finished():
            if answer.error is not None:
                raise RuntimeError(f"a request failed: {answer.error}")
            tokens += len(answer.generated_tokens)
            left -= 1
    return round(tokens / (time.perf_counter() - began), 1)


WAYS: dict[str, Callable[[Path, Plan], dict[str, Any]]] = {
    "generate": generate,
    "compiled": compiled,
    "batching": batching,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))  # as the engine does
    result: dict[str, Any] = {"transformers": transformers.__version__}
    try:
        result |= WAYS[asked.way](asked.model, PLANS[DEVICE])
    except Exception as error:
        result["failed"] = f"{type(error).__name__}: {error}"[:300]
    print(f"transformers, {asked.way}: {json.dumps(result)}", flush=True)
    asked.out.write_text(json.dumps(result), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # threads of a failed manager must not keep the process


if __name__ == "__main__":
    main()
