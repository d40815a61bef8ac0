"""Where the time of a step goes: kernels by kind, and the time in which the device waits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

KINDS = (
    ("attention", r"flash|fmha|_dot_do_o|convert_dq|^_forward|^_backward_"),
    ("thin products", r"^_narrow"),
    ("adapter gradients", r"^_gradients"),
    ("adapter copies", r"^_copy"),
    ("cross-entropy", r"^_cross_entropy"),
    ("element-wise", r"^_(add_norm|norm_backward|rotate|rotate_back|swiglu|swiglu_backward)$"),
    ("matrix products", r"gemm|nvjet|cutlass|splitK|cublas"),
    ("optimiser", r"multi_tensor|adam|lpnorm|foreach"),
    ("copies and fills", r"Memcpy|Memset|fill|copy"),
)


def timeline(loop: Iterable[Any], steps: int, wall_ms: float, top: int = 16) -> list[str]:
    """`loop` does `steps` steps; `wall_ms`: a step's time without the profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in loop:
            pass
        torch.cuda.synchronize()
    kinds: dict[str, float] = defaultdict(float)
    rows = []
    for event in profile.key_averages():
        ms = event.self_device_time_total / 1000 / steps
        if ms <= 0:
            continue
        kind = next((k for k, p in KINDS if re.search(p, event.key, re.IGNORECASE)), "other")
        kinds[kind] += ms
        rows.append((ms, event.count / steps, event.key))
    busy = sum(kinds.values())
    lines = [f"device busy {busy:.1f} ms of {wall_ms:.1f} ms a step"]
    lines += [f"  {k:18s} {v:7.2f} ms" for k, v in sorted(kinds.items(), key=lambda kv: -kv[1])]
    lines += [f"    {ms:7.2f} ms {n:6.0f} × {key[:90]}" for ms, n, key in sorted(rows)[::-1][:top]]
    return lines
