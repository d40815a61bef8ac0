"""Kernels of a step that follow each other without a gap: programmatic dependent launch.

On Hopper a kernel may be placed on the processors while the one before it still runs; it waits
there for that one's results, and may ask for weights meanwhile. Owns whether that is done.

A kernel that takes part calls `follow` (or does what it does) before it reads anything that an
earlier one has written and before it writes anything. Since each waits for the whole of the one
before, everything earlier has ended too; kernels launched the usual way may stand between.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

# Triton's annotations are its own; the launches are untyped.
# mypy: disable-error-code="no-untyped-def"


@triton.jit
def follow(CHAINED: tl.constexpr):
    """Lets the next kernel come, then waits for the results of the one before."""
    if CHAINED:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def ask_for(pointers, BYTES: tl.constexpr):
    """Brings BYTES (a multiple of 16) from each pointer to the L2 cache; nobody waits for them."""
    size = tl.full(pointers.shape, BYTES, tl.int32)
    tl.inline_asm_elementwise(
        "cp.async.bulk.prefetch.L2.global [$1], $2; mov.u32 $0, 0;",
        "=r,l,r", [pointers.to(tl.int64), size], dtype=tl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@cache
def hopper(device: torch.device) -> bool:
    """Whether `device` is what the tilings were measured on; others may have less shared memory."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 9


@cache
def chained(device: torch.device) -> dict[str, Any]:
    """What a launch on `device` is given besides its arguments."""
    return {"CHAINED": True, "launch_pdl": True} if hopper(device) else {"CHAINED": False}
