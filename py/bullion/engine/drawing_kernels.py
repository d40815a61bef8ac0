"""One draw a row on the GPU without sorting the vocabulary: thresholds by bisection, in Triton.

The same draws as sampling.py makes on the CPU: from the tokens at or above a threshold, in the order of
the vocabulary. A sort of 64 × 128,256 numbers takes as long as a decode step.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

# Triton's annotations are its own; the launches are untyped.
# mypy: disable-error-code="no-untyped-def"

SETTINGS = 5  # numbers a row: u, temperature, top_k, top_p, min_p
_ONE = tl.constexpr(0x3F800000)  # the bits of 1.0; of positive floats the bits keep the order


@triton.jit
def _mass(weights, floor, vocabulary, BLOCK: tl.constexpr):
    """Number and sum of the weights at or above `floor`."""
    count = tl.zeros((BLOCK,), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, vocabulary, BLOCK):
        at = start + tl.arange(0, BLOCK)
        w = tl.load(weights + at, mask=at < vocabulary, other=-1.0)
        count += tl.where(w >= floor, 1.0, 0.0)
        total += tl.where(w >= floor, w, 0.0)
    return tl.sum(count, axis=0), tl.sum(total, axis=0)


@triton.jit
def _draw(logits, settings, out, vocabulary, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    weights = logits + row * vocabulary
    u = tl.load(settings + row * 5)
    heat = tl.load(settings + row * 5 + 1)
    top_k = tl.load(settings + row * 5 + 2)
    top_p = tl.load(settings + row * 5 + 3)
    floor = tl.load(settings + row * 5 + 4)  # min_p: the best weight is 1
    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    for start in range(0, vocabulary, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(weights + at, mask=at < vocabulary, other=float("-inf"))
        best = tl.maximum(best, x)
    top = tl.max(best, axis=0)
    for start in range(0, vocabulary, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(weights + at, mask=at < vocabulary, other=float("-inf"))
        tl.store(weights + at, tl.exp((x - top) / heat), mask=at < vocabulary)
    tl.debug_barrier()
    low = tl.full((), 0, tl.int32)
    if top_k < vocabulary:
        # the largest threshold that leaves k tokens or more
        high = tl.full((), _ONE, tl.int32)
        for _ in range(31):
            middle = low + (high - low + 1) // 2
            count, _unused = _mass(weights, middle.to(tl.float32, bitcast=True), vocabulary, BLOCK)
            enough = count >= top_k
            low = tl.where(enough, middle, low)
            high = tl.where(enough, high, middle - 1)
        floor = tl.maximum(floor, low.to(tl.float32, bitcast=True))
    if top_p < 1.0:
        # the largest threshold that leaves a share p or more of what top-k left
        _unused, within_k = _mass(weights, low.to(tl.float32, bitcast=True), vocabulary, BLOCK)
        high = tl.full((), _ONE, tl.int32)
        for _ in range(31):
            middle = low + (high - low + 1) // 2
            _unused, share = _mass(weights, middle.to(tl.float32, bitcast=True), vocabulary, BLOCK)
            enough = share >= top_p * within_k
            low = tl.where(enough, middle, low)
            high = tl.where(enough, high, middle - 1)
        floor = tl.maximum(floor, low.to(tl.float32, bitcast=True))
    _unused, total = _mass(weights, floor, vocabulary, BLOCK)
    goal = u * total
    passed = tl.full((), 0.0, tl.float32)
    token = tl.full((), -1, tl.int32)
    latest = tl.full((), 0, tl.int32)  # the last token that was left, should rounding run past it
    for start in range(0, vocabulary, BLOCK):
        at = start + tl.arange(0, BLOCK)
        w = tl.load(weights + at, mask=at < vocabulary, other=-1.0)
        left = w >= floor
        w = tl.where(left, w, 0.0)
        over = left & (passed + tl.cumsum(w, axis=0) > goal)
        first = tl.min(tl.where(over, at, vocabulary), axis=0)
        token = tl.where((token < 0) & (first < vocabulary), first, token)
        latest = tl.maximum(latest, tl.max(tl.where(left, at, 0), axis=0))
        passed += tl.sum(w, axis=0)
    tl.store(out + row, tl.where(token < 0, latest, token).to(tl.int64))


def draw(logits: Tensor, settings: Tensor, out: Tensor) -> None:
    """out (n,) int64 from logits (n, V) fp32, which are used up; settings (n, SETTINGS) fp32."""
    n, vocabulary = logits.shape
    block = min(4096, triton.next_power_of_2(vocabulary))
    _draw[(n,)](logits, settings, out, vocabulary, BLOCK=block, num_warps=16)
