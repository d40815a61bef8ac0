"""Decode attention over pages, in Triton: each sequence's tokens are cut into parts that are computed
side by side and joined, so that one long sequence fills the GPU as many short ones do.

It owns no memory; the caller brings pages, page tables and scratch. Sums are fp32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from bullion.engine.chain import chained, follow
from bullion.engine.kernels import summed
from bullion.engine.tilings import MOST_PARTS, AttentionCut

# Triton's annotations are its own; the launches are untyped.
# mypy: disable-error-code="no-untyped-def"


@triton.jit
def _turned(qkv, start, at, position, cos, sin, stride, HALF: tl.constexpr, SPLITS: tl.constexpr,
            narrow: tl.constexpr):  # fmt: skip
    """Heads that begin at `start` (rows, 1), summed from their parts and turned by their position."""
    other = (at + HALF) % (2 * HALF)
    own = summed(qkv + start + at, True, stride, SPLITS, narrow)
    partner = summed(qkv + start + other, True, stride, SPLITS, narrow)
    angle = position * HALF + at % HALF
    turn = tl.load(sin + angle)
    return (own * tl.load(cos + angle) + tl.where(at < HALF, -partner, partner) * turn).to(narrow)


@triton.jit(do_not_specialize=["splits"])
def _attend(
    queries, keys, values, tables, lengths, mixed, weights, out, table_stride, scale, splits,
    page_tokens, qkv, cos, sin, qkv_stride, part_stride,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr, D: tl.constexpr,
    TOKENS: tl.constexpr, WHOLE: tl.constexpr, TURNS: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """One part of one sequence's tokens for one key-value head: the group's queries are the rows.

    WHOLE: it is all of them, and the result. TURNS: the last token's query, key and value come as the
    product left them, in TURNS parts; the first part of a sequence stores the key and the value.
    """
    follow(CHAINED)
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    split = tl.program_id(2)
    length = tl.load(lengths + row)
    member = tl.arange(0, ROWS)
    at = tl.arange(0, D)
    head = kv_head * GROUP + member
    pages = tables + row * table_stride
    best = tl.full((ROWS,), -1e30, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    sums = tl.zeros((ROWS, D), tl.float32)
    if TURNS > 0:
        narrow: tl.constexpr = keys.dtype.element_ty
        half: tl.constexpr = D // 2
        length -= 1  # the last token is at hand, the others lie in the pages
        source = qkv + row * qkv_stride
        # rows beyond the group are its first head again
        start_q = (kv_head * GROUP + tl.where(member < GROUP, member, 0))[:, None] * D
        q = _turned(
            source, start_q, at[None, :], length, cos, sin, part_stride, half, TURNS, narrow
        )
        if split == 0:
            key_at = (KV_HEADS * GROUP + kv_head) * D
            key = _turned(source, key_at, at, length, cos, sin, part_stride, half, TURNS, narrow)
            value_at = source + (KV_HEADS * (GROUP + 1) + kv_head) * D + at
            value = summed(value_at, True, part_stride, TURNS, narrow).to(narrow)
            page = tl.load(pages + length // page_tokens)
            own = (
                (page.to(tl.int64) * page_tokens + length % page_tokens) * KV_HEADS + kv_head
            ) * D
            tl.store(keys + own + at, key)
            tl.store(values + own + at, value)
            best = tl.sum(q.to(tl.float32) * key.to(tl.float32)[None, :], axis=1) * scale
            total += 1.0
            sums += value.to(tl.float32)[None, :]
    else:
        q_at = queries + (row * KV_HEADS * GROUP + head[:, None]) * D + at[None, :]
        q = tl.load(q_at, mask=(member < GROUP)[:, None], other=0.0)
    blocks = tl.cdiv(tl.cdiv(length, TOKENS), splits)
    start = split * blocks * TOKENS
    end = tl.minimum(length, start + blocks * TOKENS)
    # tokens beyond the last are the last one again: nothing is masked while reading
    known = tl.maximum(tl.minimum(start + tl.arange(0, TOKENS), length - 1), 0)
    page = tl.load(pages + known // page_tokens)
    for block in range(start, end, TOKENS):
        token = block + tl.arange(0, TOKENS)
        valid = token < end
        place = page.to(tl.int64) * page_tokens + known % page_tokens
        # where the next ones lie is asked for before these are waited for
        known = tl.minimum(token + TOKENS, length - 1)
        page = tl.load(pages + known // page_tokens)
        offset = (place * KV_HEADS + kv_head) * D
        k = tl.load(keys + offset[None, :] + at[:, None])
        v = tl.load(values + offset[:, None] + at[None, :])
        scores = tl.dot(q, k) * scale
        scores = tl.where(valid[None, :], scores, -1e30)
        higher = tl.maximum(best, tl.max(scores, axis=1))
        p = tl.exp(scores - higher[:, None])
        p = tl.where(valid[None, :], p, 0.0)
        shrink = tl.exp(best - higher)
        total = total * shrink + tl.sum(p, axis=1)
        sums = sums * shrink[:, None] + tl.dot(p.to(v.dtype), v)
        best = higher
    inside = member < GROUP
    place = row * KV_HEADS * GROUP + head
    there = inside[:, None] & (at < D)[None, :]
    mean = sums / tl.maximum(total, 1e-30)[:, None]
    if WHOLE:
        tl.store(out + place[:, None] * D + at[None, :], mean.to(out.dtype.element_ty), mask=there)
    else:
        part = place * splits + split
        log_total = tl.where(total > 0, best + tl.log(tl.maximum(total, 1e-30)), -1e30)
        tl.store(mixed + part[:, None] * D + at[None, :], mean, mask=there)
        tl.store(weights + part, log_total, mask=inside)


@triton.jit(do_not_specialize=["splits"])
def _attend_join(
    mixed, weights, out, splits, D: tl.constexpr, MOST: tl.constexpr, CHAINED: tl.constexpr
):  # fmt: skip
    """The parts of one head of one row, weighed by their share of the exponentials."""
    follow(CHAINED)
    place = tl.program_id(0).to(tl.int64)
    part = tl.arange(0, MOST)
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


@dataclass(frozen=True)
class Parts:
    """Scratch memory of `attend` for n rows."""

    mixed: Tensor  # (n, heads, splits, D) fp32
    weights: Tensor  # (n, heads, splits) fp32
    cut: AttentionCut

    @staticmethod
    def room(cut: AttentionCut, n: int, heads: int, size: int, device: torch.device) -> Parts:
        splits = cut.splits if cut.splits > 1 else 0
        mixed = torch.empty(n, heads, splits, size, device=device)
        return Parts(mixed, torch.empty(n, heads, splits, device=device), cut)


@dataclass(frozen=True)
class Turning:
    """Rotary tables (positions, D / 2), fp32."""

    cos: Tensor
    sin: Tensor


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, tables: Tensor, lengths: Tensor, out: Tensor,
    parts: Parts, page_tokens: int, turning: Turning | None = None,
) -> None:  # fmt: skip
    """Decode attention: queries (n, heads, D) over pages → out (n, heads · D).

    keys and values (slots, kv_heads, D); tables (n, pages) int32; lengths (n,) with the row's own
    token counted. With `turning`, `queries` are a product's parts (splits, n, ≥ Q + 2K) instead, not
    turned yet, and the last token's key and value are turned and stored on the way.
    """
    n, size, kv_heads = out.shape[0], keys.shape[-1], keys.shape[-2]
    heads = out.shape[1] // size
    group = heads // kv_heads
    cut = parts.cut
    # what is not there is not looked at
    cos, sin = (turning.cos, turning.sin) if turning else (out, out)
    _attend[(n, kv_heads, cut.splits)](
        queries, keys, values, tables, lengths, parts.mixed, parts.weights, out, tables.stride(0),
        size**-0.5, cut.splits, page_tokens, queries, cos, sin, queries.stride(-2),
        queries.stride(0), KV_HEADS=kv_heads, GROUP=group,
        ROWS=max(16, triton.next_power_of_2(group)), D=size, TOKENS=cut.tokens,
        WHOLE=cut.splits == 1, TURNS=queries.shape[0] if turning else 0, num_warps=4,
        num_stages=cut.stages, **chained(out.device),
    )  # fmt: skip
    if cut.splits > 1:
        _attend_join[(n * heads,)](
            parts.mixed, parts.weights, out, cut.splits, D=size, MOST=MOST_PARTS, num_warps=1,
            **chained(out.device),
        )  # fmt: skip
