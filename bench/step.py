"""One decode step on a GPU, without requests: `python bench/step.py [--rows 1 64 …] [--tokens 320]`.

Llama-3-8B's shape with random weights drawn on the device. Prints milliseconds a step beside what the
memory alone would take (weights, and keys and values of `--tokens` a row, at the rate of a large
copy), and with `--profile` where the time goes. `--source DIR` measures another checkout's engine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

import torch  # noqa: E402

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256,
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192,
    "rope_theta": 500000.0, "rms_norm_eps": 1e-05, "torch_dtype": "bfloat16",
}  # fmt: skip
PAGE = 16


def random_weights(layers: int) -> Any:
    from bullion.models.llama import LlamaLayer, LlamaShape, LlamaWeights

    shape = LlamaShape.from_config(CONFIG | {"num_hidden_layers": layers}, "bench")

    def matrix(out: int, inside: int) -> torch.Tensor:
        drawn = torch.empty(out, inside, device="cuda", dtype=torch.bfloat16)
        return drawn.normal_(0, 0.02)

    def norm() -> torch.Tensor:
        return torch.ones(shape.hidden_size, device="cuda", dtype=torch.bfloat16)

    h, i, q = shape.hidden_size, shape.intermediate_size, shape.q_size
    drawn = [
        LlamaLayer(
            norm(), matrix(q + 2 * shape.kv_size, h), None, matrix(h, q), None, norm(),
            matrix(2 * i, h), None, matrix(h, i), None,
        )
        for _ in range(layers)
    ]  # fmt: skip
    head = matrix(shape.vocab_size, h)
    return LlamaWeights(shape, matrix(shape.vocab_size, h), drawn, norm(), head)


def sequences(n: int, tokens: int) -> list[Any]:
    """n decoding sequences of that many tokens, each with pages of its own."""
    from bullion.contract.worker import Sampling
    from bullion.engine.sampling import Choosing
    from bullion.engine.sequence import Sequence

    greedy = Sampling(256, 0.0, 1.0, 0, 0.0, 1.0, 0.0, 0.0, {}, None, [], True)
    each = -(-tokens // PAGE)
    found = []
    for row in range(n):
        pages = list(range(1 + row * each, 1 + (row + 1) * each))
        made = Sequence("bench", row, [row] * tokens, greedy, 256, pages=pages)
        made.state, made.computed = row, tokens
        made.choosing = Choosing(greedy, 0, [])
        found.append(made)
    return found


def copy_bandwidth() -> float:
    """Bytes a second of a large copy, read and written."""
    source = torch.empty(4_000_000_000, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() / milliseconds(lambda: target.copy_(source), 5) * 1e3


def milliseconds(run: Any, times: int) -> float:
    """Of one run, the middle of three rounds."""
    rounds = []
    for _ in range(3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(times):
            run()
        end.record()
        end.synchronize()
        rounds.append(begin.elapsed_time(end) / times)
    return sorted(rounds)[1]


def kernels(run: Any, times: int) -> list[str]:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(times):
            run()
        torch.cuda.synchronize()
    rows = sorted(found.key_averages(), key=lambda e: -e.device_time_total)
    return [
        f"{e.device_time_total / times:9.0f} us {e.count / times:5.0f} calls  {e.key[:80]}"
        for e in rows[:12]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 16, 32, 64, 128])
    parser.add_argument("--tokens", type=int, default=320)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--source", type=Path, default=ROOT)
    asked = parser.parse_args()
    sys.path.insert(0, str(asked.source / "py"))
    from bullion.engine.cuda_runner import CudaRunner
    from bullion.engine.scheduler import Plan

    peak = copy_bandwidth()
    weights = random_weights(asked.layers)
    print(f"{torch.cuda.get_device_name()}: a large copy moves {peak / 1e12:.2f} TB/s", flush=True)
    read = 2 * (weights.shape.parameters - weights.embed.numel())
    token_bytes = 4 * weights.shape.kv_size * asked.layers
    most = max(asked.rows)
    pages = 1 + most * -(-asked.tokens // PAGE)
    runner = CudaRunner(weights, pages, PAGE, most, 2048, True)
    for n in asked.rows:
        plan = Plan(decode=sequences(n, asked.tokens))
        runner.launch(plan).read()
        taken = milliseconds(lambda plan=plan: runner.launch(plan), 20)
        floor = (read + n * asked.tokens * token_bytes) / peak * 1e3
        print(
            f"{n:4} rows {taken:7.3f} ms a step, {floor:6.3f} for the memory ({floor / taken:.0%}), "
            f"{n / taken * 1e3:7.0f} tokens/s",
            flush=True,
        )
        if asked.profile:
            print(*kernels(lambda plan=plan: runner.launch(plan), 5), sep="\n", flush=True)


if __name__ == "__main__":
    main()
