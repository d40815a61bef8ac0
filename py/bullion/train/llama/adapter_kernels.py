"""Triton kernels for what LoRA adds: its gradients and its copies beside the frozen weights.

Both are bound by memory. Work is listed once in a table of tiles that does not depend on the length
of a pack, so that one launch serves all adapters of two groups.

Legend: T tokens; R rank; a tile is `COLUMNS` columns of one gradient.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from bullion.train.llama.launch import launch

GRADIENT_COLUMNS = 128
COPY_ROWS, COPY_COLUMNS = 32, 64


@triton.jit
def _gradient_tile(
    left, left_stride, right, right_stride, tokens, tile, scale, out,
    ALIGNED: tl.constexpr, RANK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    first = tl.load(tile + 1)  # column of x (for A) or dy (for B)
    columns = tl.load(tile + 2)
    left_first = tl.load(tile + 3)  # column of dt or t
    rank = tl.load(tile + 4)
    offset = tl.load(tile + 5)
    rank_stride = tl.load(tile + 6)
    column_stride = tl.load(tile + 7)
    if ALIGNED:
        first = tl.multiple_of(first, 16)
        columns = tl.multiple_of(columns, 16)
        left_first = tl.multiple_of(left_first, 8)
        rank = tl.multiple_of(rank, 8)
    i = tl.arange(0, RANK)
    c = tl.arange(0, COLUMNS)
    rows = tl.arange(0, ROWS)
    lefts = left + left_first + rows[:, None] * left_stride + i[None, :]
    rights = right + first + rows[:, None] * right_stride + c[None, :]
    sums = tl.zeros((RANK, COLUMNS), dtype=tl.float32)
    for start in range(0, tokens, ROWS):
        inside = (start + rows < tokens)[:, None]
        a = tl.load(lefts, mask=inside & (i < rank)[None, :], other=0.0)
        b = tl.load(rights, mask=inside & (c < columns)[None, :], other=0.0)
        sums = tl.dot(tl.trans(a), b, sums, input_precision="ieee")
        lefts += ROWS * left_stride
        rights += ROWS * right_stride
    place = out + offset + i[:, None] * rank_stride + c[None, :] * column_stride
    mask = (i < rank)[:, None] & (c < columns)[None, :]
    before = tl.load(place, mask=mask, other=0.0)
    tl.store(place, before + sums * scale, mask=mask)


@triton.jit(do_not_specialize=["tokens"])  # or it would be compiled again for lucky lengths
def _gradients(
    x0, t0, dy0, x1, t1, dy1,
    x0_stride, t0_stride, dy0_stride, x1_stride, t1_stride, dy1_stride,
    tokens, tiles, scales, out,
    ALIGNED: tl.constexpr, RANK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    # A pointer chosen by a condition would lose its alignment and the loads their width,
    # so each choice has the whole tile in its branch.
    tile = tiles + tl.program_id(0) * 8
    scale = tl.load(scales + tl.program_id(0))
    kind = tl.load(tile)
    if kind == 0:
        _gradient_tile(
            dy0, dy0_stride, x0, x0_stride, tokens, tile, scale, out, ALIGNED, RANK, ROWS, COLUMNS
        )
    elif kind == 1:
        _gradient_tile(
            dy1, dy1_stride, x1, x1_stride, tokens, tile, scale, out, ALIGNED, RANK, ROWS, COLUMNS
        )
    elif kind == 2:
        _gradient_tile(
            t0, t0_stride, dy0, dy0_stride, tokens, tile, scale, out, ALIGNED, RANK, ROWS, COLUMNS
        )
    else:
        _gradient_tile(
            t1, t1_stride, dy1, dy1_stride, tokens, tile, scale, out, ALIGNED, RANK, ROWS, COLUMNS
        )


@triton.jit
def _copy(
    weights, buffer0, buffer1, buffer2, buffer3, stride0, stride1, stride2, stride3,
    tiles, scales, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    tile = tiles + tl.program_id(0) * 8
    group = tl.load(tile)
    offset = tl.load(tile + 1)
    source_stride = tl.load(tile + 2)
    first_row = tl.load(tile + 3)
    first_column = tl.load(tile + 4)
    rows = tl.load(tile + 5)
    columns = tl.load(tile + 6)
    if group == 0:
        buffer, stride = buffer0, stride0
    elif group == 1:
        buffer, stride = buffer1, stride1
    elif group == 2:
        buffer, stride = buffer2, stride2
    else:
        buffer, stride = buffer3, stride3
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    mask = (row < rows) & (column < columns)
    value = tl.load(weights + offset + row * source_stride + column, mask=mask, other=0.0)
    value = value.to(tl.float32) * tl.load(scales + tl.program_id(0))
    place = buffer + (first_row + row) * stride + first_column + column
    tl.store(place, value.to(buffer.dtype.element_ty), mask=mask)


def add_gradients(
    first: tuple[Tensor, Tensor, Tensor],
    second: tuple[Tensor, Tensor, Tensor],
    tiles: Tensor,
    scales: Tensor,
    rank: int,
    out: Tensor,
    aligned: bool,
) -> None:
    """Add the gradients that `tiles` lists, from (x, t, dy) of two groups, to `out` (fp32, flat).

    `tiles`: (n, 8) int64 rows (kind, first column, columns, first column of the narrow factor, rank,
    offset in out, its stride by rank, its stride by column); kind 0 and 1 are A of the first and
    second group, 2 and 3 their B; `scales`: (n,) fp32. `rank`: the largest. `aligned`: columns are
    multiples of 16, ranks of 8.
    """
    x0, t0, dy0 = first
    x1, t1, dy1 = second
    launch(
        _gradients, (tiles.shape[0],),
        x0, t0, dy0, x1, t1, dy1,
        x0.stride(0), t0.stride(0), dy0.stride(0), x1.stride(0), t1.stride(0), dy1.stride(0),
        x0.shape[0], tiles, scales, out,
        ALIGNED=aligned, RANK=max(16, triton.next_power_of_2(rank)), ROWS=64,
        COLUMNS=GRADIENT_COLUMNS, num_warps=4, num_stages=4,
    )  # fmt: skip


def copy_adapters(weights: Tensor, buffers: list[Tensor], tiles: Tensor, scales: Tensor) -> None:
    """Copy tiles of the flat `weights` into the four weight buffers of a layer, scaled and rounded.

    `tiles`: (n, 8) int64 rows (group, offset in weights, its row stride, first row and first column in
    the buffer, rows, columns, 0); `scales`: (n,) fp32.
    """
    launch(
        _copy, (tiles.shape[0],),
        weights, *buffers, *(b.stride(0) for b in buffers), tiles, scales,
        ROWS=COPY_ROWS, COLUMNS=COPY_COLUMNS, num_warps=4,
    )  # fmt: skip
