"""The training step beside its peer: `python bench/train.py [--lengths FILE] [--steps N] [--out FILE]`.

On a GPU, Llama-3-8B's shape with random weights: exactness against Transformers + PEFT, that loop's
speed, ours with each plan of memory, and where our time goes. Without one, the embedded base's shape.
`--lengths`: JSON, [prompt, answer] tokens of each record (default: ../shared/experiments).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "bench")]

import torch  # noqa: E402
from bullion.train.llama import LlamaShape, LlamaStepper, estimate  # noqa: E402
from bullion.train.optimizer import Optimizer  # noqa: E402
from training.exactness import compare  # noqa: E402
from training.job import LLAMA_3_8B, OPTIMIZER, random_llama, spec, steps_of_records, tokens_of  # noqa: E402
from training.loops import packed_loop, peft_loop  # noqa: E402
from training.processor import measure  # noqa: E402
from training.timeline import timeline  # noqa: E402

SHARED = Path(os.environ.get("BULLION_SHARED", ROOT.parent / "shared"))
EPOCH_TOKENS = 369_483
RESULTS: dict[str, Any] = {}


def say(title: str, lines: list[str]) -> None:
    RESULTS[title] = lines
    print(f"== {title}", *lines, sep="\n", flush=True)


def free() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def run_timed(loop: Any, tokens: list[int], warm: int) -> tuple[float, float, list[float]]:
    """Tokens a second and seconds a step after `warm` steps; the seconds of each of those alone."""
    first = []
    for _ in range(warm):
        began = time.perf_counter()
        next(loop)
        torch.cuda.synchronize()
        first.append(time.perf_counter() - began)
    began = time.perf_counter()
    count = sum(1 for _ in loop)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    return sum(tokens[warm:]) / seconds, seconds / count, first


def on_gpu(lengths: Path, count: int) -> None:
    device = torch.device("cuda")
    steps = steps_of_records(lengths, LLAMA_3_8B["vocab_size"])
    say("exactness, two layers", compare(steps, device))
    free()
    began = time.perf_counter()
    model = random_llama(LLAMA_3_8B, torch.bfloat16, device)
    torch.cuda.synchronize()
    made = time.perf_counter() - began
    each = [tokens_of([s]) for s in steps]
    theirs, seconds, _ = run_timed(peft_loop(model, steps[:4], device), each[:4], 1)
    peak = torch.cuda.max_memory_allocated() / 1e9
    say(
        "Transformers + PEFT, batch 1 × 8, recomputing",
        [
            f"{theirs:.0f} tokens/s, {seconds:.2f} s a step, {peak:.1f} GB; model made in {made:.0f} s"
        ],
    )
    lines = []
    shape = LlamaShape.of(model.base_model.model.config)
    biggest = max(steps, key=lambda step: tokens_of([step]))
    for recompute in ("full", "selective", "none"):
        free()
        began = time.perf_counter()
        stepper = LlamaStepper(model, spec("bf16"), device, recompute)  # type: ignore[arg-type]
        torch.cuda.synchronize()
        built = time.perf_counter() - began
        optimizer = Optimizer(stepper.trainable(), OPTIMIZER)
        loop = packed_loop(stepper, steps[:count], optimizer)
        rate, seconds, first = run_timed(loop, each[:count], 3)
        list(packed_loop(stepper, [biggest], optimizer))
        peak = torch.cuda.max_memory_allocated() / 1e9
        reserved = torch.cuda.max_memory_reserved() / 1e9
        guess = estimate(shape, tokens_of([biggest]), recompute) / 1e9  # type: ignore[arg-type]
        lines.append(
            f"recompute {recompute:9s} {rate:6.0f} tokens/s ({rate / theirs:.1f} × PEFT), "
            f"{seconds * 1e3:.1f} ms a step, 10 epochs {10 * EPOCH_TOKENS / rate:.0f} s; with the "
            f"largest step ({tokens_of([biggest])} tokens) {peak:.1f} GB used, {reserved:.1f} "
            f"reserved, {guess:.1f} estimated; built {built:.1f} s, "
            f"first steps {', '.join(f'{s:.2f}' for s in first)} s"
        )
        print(lines[-1], flush=True)
        if recompute == "none":
            say("waiting", [waiting(stepper, steps[4], optimizer)])
            four = steps[3:7]
            wall = seconds * 1e3 * tokens_of(four) / 4 / (sum(each[3:count]) / (count - 3))
            say(
                "ours, where the time goes",
                timeline(packed_loop(stepper, four, optimizer), 4, wall),
            )
        del stepper, optimizer, loop
    say("ours, packed", lines)


def waiting(stepper: Any, step: Any, optimizer: Optimizer) -> str:
    """Whether a step makes the host wait for the device, and how far ahead the host is."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    began = time.perf_counter()
    try:
        list(packed_loop(stepper, [step], optimizer))
        text = "no synchronisation within a step"
    except RuntimeError as raised:
        text = f"a step synchronises: {raised}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    host = time.perf_counter() - began
    torch.cuda.synchronize()
    whole = time.perf_counter() - began
    return f"{text}; the host needs {host * 1e3:.0f} ms of the {whole * 1e3:.0f} ms of a step"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=Path, default=SHARED / "experiments/token_lengths.json")
    parser.add_argument("--steps", type=int, default=23)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if torch.cuda.is_available():
        on_gpu(options.lengths, options.steps)
    else:
        say("the embedded base's shape", measure(options.lengths))
    if options.out is not None:
        options.out.write_text(json.dumps(RESULTS, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
