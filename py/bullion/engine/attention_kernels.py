"""Decode attention over pages, in Triton: each sequence's tokens are cut into parts that are computed
side by side and joined, so that one long sequence fills the GPU as many short ones do.

It owns no memory; the caller brings pages, page tables and scratch. Sums are fp32.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

# Triton's annotations are its own; the launches are untyped.
# mypy: disable-error-code="no-untyped-def"


@triton.jit
def _attend_part(
    queries, keys, values, tables, lengths, mixed, weights, table_stride, scale, splits, page_tokens,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr, D: tl.constexpr,
    TOKENS: tl.constexpr,
):  # fmt: skip
    """One part of one sequence's tokens for one key-value head: the group's queries are the rows."""
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    split = tl.program_id(2)
    length = tl.load(lengths + row)
    blocks = tl.cdiv(tl.cdiv(length, TOKENS), splits)
    start = split * blocks * TOKENS
    end = tl.minimum(length, start + blocks * TOKENS)
    member = tl.arange(0, ROWS)
    at = tl.arange(0, D)
    head = kv_head * GROUP + member
    q_at = queries + (row * KV_HEADS * GROUP + head[:, None]) * D + at[None, :]
    q = tl.load(q_at, mask=(member < GROUP)[:, None], other=0.0)
    best = tl.full((ROWS,), -1e30, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    sums = tl.zeros((ROWS, D), tl.float32)
    for block in range(start, end, TOKENS):
        token = block + tl.arange(0, TOKENS)
        valid = token < end
        page = tl.load(tables + row * table_stride + token // page_tokens, mask=valid, other=0)
        place = page.to(tl.int64) * page_tokens + token % page_tokens
        offset = (place * KV_HEADS + kv_head) * D
        k = tl.load(keys + offset[None, :] + at[:, None], mask=valid[None, :], other=0.0)
        # both tiles are asked for before either is waited for
        v = tl.load(values + offset[:, None] + at[None, :], mask=valid[:, None], other=0.0)
        scores = tl.dot(q, k) * scale
        scores = tl.where(valid[None, :], scores, -1e30)
        higher = tl.maximum(best, tl.max(scores, axis=1))
        p = tl.exp(scores - higher[:, None])
        p = tl.where(valid[None, :], p, 0.0)
        shrink = tl.exp(best - higher)
        total = total * shrink + tl.sum(p, axis=1)
        sums = sums * shrink[:, None] + tl.dot(p.to(v.dtype), v)
        best = higher
    part = (row * KV_HEADS * GROUP + head) * splits + split
    inside = member < GROUP
    tl.store(
        mixed + part[:, None] * D + at[None, :],
        sums / tl.maximum(total, 1e-30)[:, None],
        mask=inside[:, None],
    )
    log_total = tl.where(total > 0, best + tl.log(tl.maximum(total, 1e-30)), -1e30)
    tl.store(weights + part, log_total, mask=inside)


@triton.jit
def _attend_join(
    mixed, weights, out, splits, D: tl.constexpr, SPLITS: tl.constexpr
):  # fmt: skip
    """The parts of one head of one row, weighed by their share of the exponentials."""
    place = tl.program_id(0).to(tl.int64)
    part = tl.arange(0, SPLITS)
    at = tl.arange(0, D)
    there = part < splits
    log_total = tl.load(weights + place * splits + part, mask=there, other=-1e30)
    share = tl.exp(log_total - tl.max(log_total, axis=0))
    share = tl.where(there, share / tl.sum(share, axis=0), 0.0)
    parts = tl.load(
        mixed + (place * splits + part[:, None]) * D + at[None, :], mask=there[:, None], other=0.0
    )
    value = tl.sum(parts * share[:, None], axis=0)
    tl.store(out + place * D + at, value.to(out.dtype.element_ty))


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, tables: Tensor, lengths: Tensor, out: Tensor,
    mixed: Tensor, weights: Tensor, page_tokens: int,
) -> None:  # fmt: skip
    """Decode attention: queries (n, heads, D) over pages → out (n, heads · D).

    keys and values (slots, kv_heads, D); tables (n, pages) int32; lengths (n,) int32 with the row's
    own token counted; mixed (≥ n, heads, splits, D) and weights (≥ n, heads, splits) fp32 scratch.
    """
    n, heads, size = queries.shape
    kv_heads = keys.shape[-2]
    group = heads // kv_heads
    splits = mixed.shape[2]
    _attend_part[(n, kv_heads, splits)](
        queries, keys, values, tables, lengths, mixed, weights, tables.stride(0), size**-0.5,
        splits, page_tokens, KV_HEADS=kv_heads, GROUP=group,
        ROWS=max(16, triton.next_power_of_2(group)), D=size, TOKENS=32 if n <= 4 else 64,
        num_warps=4, num_stages=2,
    )  # fmt: skip
    _attend_join[(n * heads,)](
        mixed, weights, out, splits, D=size, SPLITS=triton.next_power_of_2(splits), num_warps=1
    )
