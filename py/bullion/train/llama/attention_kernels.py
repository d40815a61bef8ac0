"""Causal attention inside the records of a pack as Triton kernels, for heads of 32, 64 or 128.

Made for many short records: work is listed as tiles of one record's rows, heavy ones first, so no
program is idle and none crosses a record. The backward pass has no atomic sums, so it repeats to the
bit; it sums over the query heads that share a key head and turns dq and dk back by the rotary
angles before they leave the chip.

Legend: T tokens; Hq query heads, Hk key heads; D head width; a tile is ROWS rows of one record.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from bullion.train.llama.launch import launch

ROWS = 64
# Triton would compile again for a length or an address that happens to be a multiple of 16.
_jit = triton.jit(do_not_specialize=["tokens"], do_not_specialize_on_alignment=["tiles"])

# Chosen by time on an H200; each fits the 99 KB of shared memory that smaller GPUs have.
FORWARD = {"num_warps": 4, "num_stages": 2}
QUERIES = {"num_warps": 4, "num_stages": 2}
KEYS = {"STEP": 32, "num_warps": 4, "num_stages": 2}


@_jit
def _forward(
    q, k, v, out, lse, tiles, q_stride, k_stride, v_stride, tokens, scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    tile = tiles + tl.program_id(1) * 3
    first = tl.load(tile).to(tl.int64)
    row0 = tl.load(tile + 1)
    length = tl.load(tile + 2)
    r = tl.arange(0, ROWS)
    d = tl.arange(0, WIDTH)
    inside = row0 + r < length
    q_rows = (first + row0 + r)[:, None]
    queries = tl.load(
        q + q_rows * q_stride + head * WIDTH + d[None, :], mask=inside[:, None], other=0.0
    )
    keys = k + first * k_stride + (head // GROUP) * WIDTH + r[:, None] * k_stride + d[None, :]
    values = v + first * v_stride + (head // GROUP) * WIDTH + r[:, None] * v_stride + d[None, :]
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    sums = tl.zeros((ROWS, WIDTH), tl.float32)
    for _ in range(0, row0, ROWS):
        scores = tl.dot(queries, tl.trans(tl.load(keys)), input_precision="ieee") * scale
        higher = tl.maximum(top, tl.max(scores, axis=1))
        weights = tl.exp2(scores - higher[:, None])
        fade = tl.exp2(top - higher)
        total = total * fade + tl.sum(weights, axis=1)
        sums = tl.dot(
            weights.to(queries.dtype), tl.load(values), sums * fade[:, None], input_precision="ieee"
        )
        top = higher
        keys += ROWS * k_stride
        values += ROWS * v_stride
    last_keys = tl.load(keys, mask=inside[:, None], other=0.0)
    scores = tl.dot(queries, tl.trans(last_keys), input_precision="ieee") * scale
    scores = tl.where(r[:, None] >= r[None, :], scores, float("-inf"))
    higher = tl.maximum(top, tl.max(scores, axis=1))
    weights = tl.exp2(scores - higher[:, None])
    fade = tl.exp2(top - higher)
    total = total * fade + tl.sum(weights, axis=1)
    last_values = tl.load(values, mask=inside[:, None], other=0.0)
    sums = tl.dot(
        weights.to(queries.dtype), last_values, sums * fade[:, None], input_precision="ieee"
    )
    tl.store(
        out + q_rows * (HEADS * WIDTH) + head * WIDTH + d[None, :],
        (sums / total[:, None]).to(out.dtype.element_ty), mask=inside[:, None],
    )  # fmt: skip
    tl.store(lse + head * tokens + first + row0 + r, higher + tl.log2(total), mask=inside)


@_jit
def _backward_queries(
    dout, q, k, v, out, lse, delta, cos, sin, into, tiles,
    dout_stride, q_stride, k_stride, v_stride, into_stride, tokens, scale, plain_scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    tile = tiles + tl.program_id(1) * 3
    first = tl.load(tile).to(tl.int64)
    row0 = tl.load(tile + 1)
    length = tl.load(tile + 2)
    r = tl.arange(0, ROWS)
    h = tl.arange(0, HALF)
    d = tl.arange(0, 2 * HALF)
    mask = (row0 + r < length)[:, None]
    place = first + row0 + r
    rows = place[:, None]
    q_place = q + rows * q_stride + head * (2 * HALF) + h[None, :]
    q1 = tl.load(q_place, mask=mask, other=0.0)
    q2 = tl.load(q_place + HALF, mask=mask, other=0.0)
    slope = tl.load(
        dout + rows * dout_stride + head * (2 * HALF) + d[None, :], mask=mask, other=0.0
    )
    result = tl.load(
        out + rows * (HEADS * 2 * HALF) + head * (2 * HALF) + d[None, :], mask=mask, other=0.0
    )
    d_row = tl.sum(slope.to(tl.float32) * result.to(tl.float32), axis=1)
    tl.store(delta + head * tokens + place, d_row, mask=row0 + r < length)
    normaliser = tl.load(lse + head * tokens + place, mask=row0 + r < length, other=0.0)
    shared = (head // GROUP) * (2 * HALF)
    keys = k + first * k_stride + shared + r[:, None] * k_stride + h[None, :]
    values = v + first * v_stride + shared + r[:, None] * v_stride + d[None, :]
    dq1 = tl.zeros((ROWS, HALF), tl.float32)
    dq2 = tl.zeros((ROWS, HALF), tl.float32)
    for start in range(0, row0 + ROWS, ROWS):
        there = (start + r < length)[:, None]
        k1 = tl.load(keys, mask=there, other=0.0)
        k2 = tl.load(keys + HALF, mask=there, other=0.0)
        value = tl.load(values, mask=there, other=0.0)
        scores = tl.dot(q1, tl.trans(k1), input_precision="ieee")
        scores = tl.dot(q2, tl.trans(k2), scores, input_precision="ieee") * scale
        visible = (row0 + r)[:, None] >= (start + r)[None, :]
        weights = tl.where(visible, tl.exp2(scores - normaliser[:, None]), 0.0)
        d_weights = tl.dot(slope, tl.trans(value), input_precision="ieee")
        d_scores = (weights * (d_weights - d_row[:, None])).to(q1.dtype)
        dq1 = tl.dot(d_scores, k1, dq1, input_precision="ieee")
        dq2 = tl.dot(d_scores, k2, dq2, input_precision="ieee")
        keys += ROWS * k_stride
        values += ROWS * v_stride
    c = tl.load(cos + rows * HALF + h[None, :], mask=mask, other=0.0).to(tl.float32) * plain_scale
    s = tl.load(sin + rows * HALF + h[None, :], mask=mask, other=0.0).to(tl.float32) * plain_scale
    narrow = into.dtype.element_ty
    target = into + rows * into_stride + head * (2 * HALF) + h[None, :]
    tl.store(target, (dq1 * c + dq2 * s).to(narrow), mask=mask)
    tl.store(target + HALF, (dq2 * c - dq1 * s).to(narrow), mask=mask)


@_jit
def _backward_keys(
    dout, q, k, v, lse, delta, cos, sin, into, tiles,
    dout_stride, q_stride, k_stride, v_stride, into_stride, tokens, scale, plain_scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    kv_head = tl.program_id(0)
    tile = tiles + tl.program_id(1) * 3
    first = tl.load(tile).to(tl.int64)
    row0 = tl.load(tile + 1)
    length = tl.load(tile + 2)
    r = tl.arange(0, ROWS)
    m = tl.arange(0, STEP)
    h = tl.arange(0, HALF)
    d = tl.arange(0, 2 * HALF)
    mask = (row0 + r < length)[:, None]
    rows = (first + row0 + r)[:, None]
    k_place = k + rows * k_stride + kv_head * (2 * HALF) + h[None, :]
    k1 = tl.load(k_place, mask=mask, other=0.0)
    k2 = tl.load(k_place + HALF, mask=mask, other=0.0)
    value = tl.load(v + rows * v_stride + kv_head * (2 * HALF) + d[None, :], mask=mask, other=0.0)
    dk1 = tl.zeros((ROWS, HALF), tl.float32)
    dk2 = tl.zeros((ROWS, HALF), tl.float32)
    dv = tl.zeros((ROWS, 2 * HALF), tl.float32)
    # One loop over the rows that see this tile, once for each query head of the group.
    steps = tl.cdiv(length - row0, STEP)
    for index in range(0, GROUP * steps):
        head = kv_head * GROUP + index // steps
        start = row0 + (index % steps) * STEP
        there = start + m < length
        place = first + start + m
        q_place = q + place[:, None] * q_stride + head * (2 * HALF) + h[None, :]
        q1 = tl.load(q_place, mask=there[:, None], other=0.0)
        q2 = tl.load(q_place + HALF, mask=there[:, None], other=0.0)
        slope = tl.load(
            dout + place[:, None] * dout_stride + head * (2 * HALF) + d[None, :],
            mask=there[:, None], other=0.0,
        )  # fmt: skip
        normaliser = tl.load(lse + head * tokens + place, mask=there, other=0.0)
        d_row = tl.load(delta + head * tokens + place, mask=there, other=0.0)
        scores = tl.dot(k1, tl.trans(q1), input_precision="ieee")
        scores = tl.dot(k2, tl.trans(q2), scores, input_precision="ieee") * scale
        visible = ((start + m)[None, :] >= (row0 + r)[:, None]) & there[None, :]
        weights = tl.where(visible, tl.exp2(scores - normaliser[None, :]), 0.0)
        dv = tl.dot(weights.to(slope.dtype), slope, dv, input_precision="ieee")
        d_weights = tl.dot(value, tl.trans(slope), input_precision="ieee")
        d_scores = (weights * (d_weights - d_row[None, :])).to(slope.dtype)
        dk1 = tl.dot(d_scores, q1, dk1, input_precision="ieee")
        dk2 = tl.dot(d_scores, q2, dk2, input_precision="ieee")
    c = tl.load(cos + rows * HALF + h[None, :], mask=mask, other=0.0).to(tl.float32) * plain_scale
    s = tl.load(sin + rows * HALF + h[None, :], mask=mask, other=0.0).to(tl.float32) * plain_scale
    narrow = into.dtype.element_ty
    target = into + rows * into_stride + (HEADS + kv_head) * (2 * HALF)
    tl.store(target + h[None, :], (dk1 * c + dk2 * s).to(narrow), mask=mask)
    tl.store(target + HALF + h[None, :], (dk2 * c - dk1 * s).to(narrow), mask=mask)
    target += (HEADS // GROUP) * (2 * HALF)
    tl.store(target + d[None, :], dv.to(narrow), mask=mask)


def forward(q: Tensor, k: Tensor, v: Tensor, tiles: Tensor) -> tuple[Tensor, Tensor]:
    """q: (T, Hq, D), k, v: (T, Hk, D) → (T, Hq, D) and the base-2 log-sum-exp (Hq, T), fp32.

    `tiles`: (n, 3) int32 rows (first token of the record, row in it, its length), most rows first.
    """
    tokens, heads, width = q.shape
    out = q.new_empty(q.shape)
    lse = torch.empty(heads, tokens, dtype=torch.float32, device=q.device)
    launch(
        _forward, (heads, tiles.shape[0]),
        q, k, v, out, lse, tiles, q.stride(0), k.stride(0), v.stride(0), tokens,
        math.log2(math.e) / math.sqrt(width),
        HEADS=heads, GROUP=heads // k.shape[1], WIDTH=width, ROWS=ROWS, **FORWARD,
    )  # fmt: skip
    return out, lse


def backward(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    cos: Tensor,
    sin: Tensor,
    into: Tensor,
    tiles: Tensor,
    tiles_by_key: Tensor,
) -> None:
    """into: (T, Hq + 2·Hk, D) = the gradients of q and k before their rotation, then of v.

    cos, sin: (T, D/2). `tiles_by_key`: the same tiles, those with most rows after them first.
    """
    tokens, heads, width = q.shape
    scale = math.log2(math.e) / math.sqrt(width)
    delta = torch.empty_like(lse)
    strides = (dout.stride(0), q.stride(0), k.stride(0), v.stride(0), into.stride(0))
    group = heads // k.shape[1]
    launch(
        _backward_queries, (heads, tiles.shape[0]),
        dout, q, k, v, out, lse, delta, cos, sin, into, tiles, *strides, tokens,
        scale, 1 / math.sqrt(width),
        HEADS=heads, GROUP=group, HALF=width // 2, ROWS=ROWS, **QUERIES,
    )  # fmt: skip
    launch(
        _backward_keys, (k.shape[1], tiles.shape[0]),
        dout, q, k, v, lse, delta, cos, sin, into, tiles_by_key, *strides, tokens,
        scale, 1 / math.sqrt(width),
        HEADS=heads, GROUP=group, HALF=width // 2, ROWS=ROWS, **KEYS,
    )  # fmt: skip
