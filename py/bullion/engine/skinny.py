"""Products of a few rows with a wide weight: what a decode step spends its time on.

Such a product reads each weight once and is as fast as the memory. So its programs keep many tiles on
their way; where a weight has too few rows for them, they share its depth out, and the kernel behind
sums the parts (kernels.py), so that nothing is written twice. The weight's rows are the matrix units'
rows; the few rows of a step are their columns. Owns no memory and decides no tiling (tilings.py).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from bullion.engine.chain import ask_for, chained, follow
from bullion.engine.tilings import Tiling, columns

# Triton's annotations are its own; the launches are untyped.
# mypy: disable-error-code="no-untyped-def"


@triton.jit(do_not_specialize=["n"])
def _product(
    x, weight, out, n, width, inside, x_stride,
    BN: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, SPLITS: tl.constexpr,
    GATED: tl.constexpr, AHEAD: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """One tile of the weight over one share of its depth → out (SPLITS, n, width).

    GATED: the weight has 2 · width rows; out (n, width) is SiLU of the first half's product times
    the second half's.
    """
    split = tl.program_id(1)
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    column = tl.arange(0, BM)
    deep = tl.arange(0, BK)
    # rows beyond the weight's are its last one again: nothing is masked while reading
    known = tl.minimum(row, width - 1).to(tl.int64)
    share = tl.cdiv(tl.cdiv(inside, BK), SPLITS) * BK
    start = split * share
    end = tl.minimum(inside, start + share)
    weights = weight + known[:, None] * inside + deep[None, :]
    others = weights + tl.cast(width, tl.int64) * inside
    rows = x + tl.minimum(column, n - 1)[None, :] * x_stride + deep[:, None]
    if CHAINED:
        gdc_launch_dependents()
        if AHEAD > 0:
            ask_for(weight + known * inside + start, AHEAD)
        gdc_wait()
    sums = tl.zeros((BN, BM), tl.float32)
    seconds = tl.zeros((BN, BM), tl.float32)
    for at in range(start, end, BK):
        tile = tl.load(weights + at)
        if GATED:
            other = tl.load(others + at)
        values = tl.load(rows + at)
        sums = tl.dot(tile, values, sums)
        if GATED:
            seconds = tl.dot(other, values, seconds)
    narrow = out.dtype.element_ty
    if GATED:
        sums = _gated(sums, seconds, narrow)
    place = (split * n + column)[None, :].to(tl.int64) * width + row[:, None]
    tl.store(out + place, sums.to(narrow), mask=(row < width)[:, None] & (column < n)[None, :])


@triton.jit
def _gated(gate, up, narrow: tl.constexpr):
    """SiLU(gate) · up, rounded where transformers rounds."""
    gate = gate.to(narrow).to(tl.float32)
    up = up.to(narrow).to(tl.float32)
    return (gate * tl.sigmoid(gate)).to(narrow).to(tl.float32) * up


@triton.jit
def _matvec(
    x, weight, out, width, inside,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, GATED: tl.constexpr,
    CHAINED: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    first = weight + row * inside
    follow(CHAINED)
    sums = tl.zeros((ROWS, BLOCK), tl.float32)
    seconds = tl.zeros((ROWS, BLOCK), tl.float32)
    for start in range(0, inside, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(x + at).to(tl.float32)[None, :]
        # each weight is read once a step: it need not stay in the cache
        tile = tl.load(first[:, None] + at[None, :], eviction_policy="evict_first")
        sums += tile.to(tl.float32) * value
        if GATED:
            second = first[:, None] + tl.cast(width, tl.int64) * inside + at[None, :]
            seconds += tl.load(second, eviction_policy="evict_first").to(tl.float32) * value
    found = tl.sum(sums, axis=1)
    if GATED:
        found = _gated(found, tl.sum(seconds, axis=1), out.dtype.element_ty)
    tl.store(out + row, found.to(out.dtype.element_ty))


def product(
    x: Tensor, weight: Tensor, out: Tensor, tiling: Tiling, gated: bool = False,
) -> None:  # fmt: skip
    """x (n, K) · weightᵀ → out (splits, n, N), fp32 parts to be summed, or of the weight's dtype when
    it is one part. `gated`: weight (2N, K), out (1, n, N) = SiLU(x · firstᵀ) · (x · secondᵀ)."""
    splits, n, width = out.shape
    _product[(triton.cdiv(width, tiling.rows), splits)](
        x, weight, out, n, width, weight.shape[1], x.stride(0),
        BN=tiling.rows, BM=columns(n), BK=tiling.depth, SPLITS=splits, GATED=gated, AHEAD=tiling.ahead,
        num_warps=tiling.warps, num_stages=tiling.stages,
        **chained(x.device),
    )  # fmt: skip


def matvec_tile(out: int, inside: int, gated: bool = False) -> tuple[int, int, int] | None:
    """Rows, columns and pipeline depth of a tile of `matvec`; None where cuBLAS has to do it.

    Measured on an H200 in Llama-3-8B's shapes, where it reads weights 3 to 17 % faster than cuBLAS:
    wide layers like flat tiles, narrow ones long tiles.
    """
    tile = (4, 512, 3) if gated else (8, 512, 3) if out > 4 * 1024 + 512 else (2, 2048, 2)
    for rows, block, stages in (tile, (8, 512, 3)):
        if out % rows == 0 and inside % block == 0:
            return rows, block, stages
    return None


def matvec(
    x: Tensor, weight: Tensor, out: Tensor, tile: tuple[int, int, int], gated: bool = False,
) -> None:  # fmt: skip
    """out (1, N) = x (1, K) · weight (N, K)ᵀ, summed in fp32; `gated` as in `product`."""
    rows, block, stages = tile
    width = out.shape[-1]
    _matvec[(width // rows,)](
        x, weight, out, width, weight.shape[1], ROWS=rows, BLOCK=block, GATED=gated,
        num_warps=4, num_stages=stages,
        **chained(x.device),
    )  # fmt: skip
