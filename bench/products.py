"""Which tilings a decode step's products want: `python bench/products.py [--rows 16 64 …] [--out FILE]`.

Llama-3-8B's five layers at some batch sizes, every sensible tiling, beside the library's product of
the same operands. Weights rotate through more memory than the cache holds, launches are replayed by
a graph. The best of these stand in bullion/engine/tilings.py.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py")]

import torch  # noqa: E402
from bullion.engine.skinny import product  # noqa: E402
from bullion.engine.tilings import Tiling  # noqa: E402

# name → rows of the weight's output, depth, gated, splits to try
LAYERS: dict[str, tuple[int, int, bool, tuple[int, ...]]] = {
    "qkv": (6144, 4096, False, (1, 2, 3, 4)),
    "o": (4096, 4096, False, (2, 3, 4)),
    "gate_up": (14336, 4096, True, (1,)),
    "down": (4096, 14336, False, (3, 4, 6)),
    "head": (128256, 4096, False, (1,)),
}
_SHARED_BYTES = 227 * 1024
_ROTATE_BYTES = 600_000_000
_LAUNCHES = 12


def tilings(n: int, layer: str) -> list[Tiling]:
    width, _, gated, splits = LAYERS[layer]
    columns = max(16, 1 << (n - 1).bit_length())
    found = []
    for rows, deep, split, stages, warps in itertools.product(
        (32, 64, 128), (64, 128, 256), splits, (3, 4, 5, 6), (4, 8)
    ):
        stage = (rows * (2 if gated else 1) + columns) * deep * 2
        programs = -(-width // rows) * split
        if stage * stages > _SHARED_BYTES or stage < 12_000 or (warps == 8 and rows < 128):
            continue
        if (rows == 32 and (layer == "head" or (columns > 32 and not gated))) or programs < 96:
            continue
        waves = programs / (132 * min(4, _SHARED_BYTES // (stage * stages)))
        if waves > (2 if gated else 1) and layer != "head":
            continue
        if columns <= 32 and not gated and (rows == 128 or deep == 64):
            continue  # too little on its way
        if rows * columns * (2 if gated else 1) > 64 * 256 * (warps // 4):
            continue  # sums beyond the registers
        found.append(Tiling(rows, deep, split, stages, warps, 512 if split > 1 else 0))
    return found


def compile_one(job: tuple[int, str, Tiling]) -> None:
    """Into the compiler's cache, by running it once on memory that nobody looks at."""
    n, layer, tiling = job
    width, depth, gated, _ = LAYERS[layer]
    weight = torch.empty(width * (2 if gated else 1), depth, device="cuda", dtype=torch.bfloat16)
    kind = torch.float32 if tiling.splits > 1 else torch.bfloat16
    out = torch.empty(tiling.splits, n, width, device="cuda", dtype=kind)
    try:
        product(weight[:n], weight, out, tiling, gated)
        torch.cuda.synchronize()
    except Exception as raised:  # a tiling that does not compile is no candidate
        print(f"{layer} {tiling}: {type(raised).__name__}", file=sys.stderr)


def seconds(run: Callable[[int], None]) -> float:
    """Of one launch; `run(i)` launches the i-th."""
    run(0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(_LAUNCHES):
            run(i)
    times = []
    for _ in range(6):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3 / _LAUNCHES)
    return sorted(times)[1]


def bandwidth() -> float:
    """Bytes a second of a large copy, read and written."""
    source = torch.empty(2_000_000_000, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds(lambda i: target.copy_(source))


def measure(n: int, layer: str, peak: float) -> dict[str, Any]:
    width, depth, gated, _ = LAYERS[layer]
    height = width * (2 if gated else 1)
    count = max(2, min(_LAUNCHES, -(-_ROTATE_BYTES // (height * depth * 2))))
    weights = [
        torch.empty(height, depth, device="cuda", dtype=torch.bfloat16).normal_(0, 0.02)
        for _ in range(count)
    ]
    x = torch.randn(n, depth, device="cuda", dtype=torch.bfloat16)
    floor = height * depth * 2 / peak
    full = torch.empty(n, height, device="cuda", dtype=torch.bfloat16)
    library = seconds(lambda i: torch.mm(x, weights[i % count].t(), out=full))
    expected = x.double() @ weights[0].double().t()
    if gated:
        expected = torch.nn.functional.silu(expected[:, :width]) * expected[:, width:]
    rows: list[tuple[float, Tiling, float]] = []

    def try_one(tiling: Tiling) -> None:
        kind = torch.float32 if tiling.splits > 1 else torch.bfloat16
        out = torch.full((tiling.splits, n, width), float("nan"), device="cuda", dtype=kind)

        def run(i: int, out: torch.Tensor = out, tiling: Tiling = tiling) -> None:
            product(x, weights[i % count], out, tiling, gated)

        try:
            run(0)
            found = out.double().sum(dim=0)
            error = ((found - expected).norm() / expected.norm()).item()
            if not error < 1e-2:
                print(f"WRONG {layer} n={n} {tiling}: {error:.1e}", flush=True)
                return
            rows.append((seconds(run), tiling, error))
        except Exception as raised:
            print(f"{layer} n={n} {tiling}: {raised}"[:200], flush=True)

    for tiling in tilings(n, layer):
        try_one(tiling)
    rows.sort(key=lambda row: row[0])
    for taken, tiling, _ in rows[:3]:
        print(
            f"{layer:8} n={n:3} {taken * 1e6:7.1f} us {floor / taken:5.0%} of the copy's bandwidth, "
            f"library {library * 1e6:7.1f} us  {tiling}",
            flush=True,
        )
    return {
        "layer": layer, "rows": n, "floor_us": floor * 1e6, "library_us": library * 1e6,
        "tilings": [[taken * 1e6, tiling.__dict__, error] for taken, tiling, error in rows],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 128, 32, 16])
    parser.add_argument("--layers", nargs="+", default=list(LAYERS))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    jobs = [(n, layer, t) for n in asked.rows for layer in asked.layers for t in tilings(n, layer)]
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(max(1, min(14, len(jobs)))) as pool:
        pool.map(compile_one, jobs, chunksize=4)
    print(f"{len(jobs)} tilings compiled in {time.perf_counter() - began:.0f} s", flush=True)
    peak = bandwidth()
    print(f"{torch.cuda.get_device_name()}: a copy moves {peak / 1e12:.2f} TB/s", flush=True)
    results = [measure(n, layer, peak) for n in asked.rows for layer in asked.layers]
    if asked.out:
        asked.out.write_text(json.dumps({"bandwidth": peak, "results": results}), encoding="utf-8")


if __name__ == "__main__":
    main()
