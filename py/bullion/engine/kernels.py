"""The small steps of a block as Triton kernels, each one read and one write of its rows.

Between two matrix products there is one launch: the low-rank part of an adapter, which the product
before has left in spare columns, is widened here on the way. Sums are fp32; results are rounded
where transformers rounds. It owns no memory. On the CPU forward.py does the same in plain torch.

Legend: n rows; H hidden; D head size; R columns of a low-rank part; S adapter slot of a row, −1 for
none; low columns of a row lie behind its output, slot after slot, part after part, R each.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from bullion.engine.chain import chained, follow

# Triton's annotations are its own; the launches are untyped.
# mypy: disable-error-code="no-untyped-def"

_BEST_BLOCK = 2048  # logits that one program looks through


@triton.jit
def summed(source, mask, stride, SPLITS: tl.constexpr, narrow: tl.constexpr):
    """The parts of a product that shared its depth out, rounded as if it had been one; fp32."""
    value = tl.load(source, mask=mask, other=0.0).to(tl.float32)
    for split in tl.static_range(1, SPLITS):
        value += tl.load(source + split * stride, mask=mask, other=0.0)
    return value.to(narrow).to(tl.float32)


@triton.jit
def _widen(
    value, low, stride, b, slot, part, rows, mask, height,
    PARTS: tl.constexpr, R: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """value + B[slot, rows] · low, the low-rank part of one row; as it was without an adapter."""
    rank = tl.arange(0, R)
    there = slot >= 0
    at = tl.where(there, slot, 0)
    place = low + (at * PARTS + part) * R + rank
    y = summed(place, there & (rank < R), stride, SPLITS, b.dtype.element_ty)
    b_at = b + (at * height + rows[:, None]) * R + rank[None, :]
    tile = tl.load(b_at, mask=mask[:, None] & there, other=0.0)
    return value + tl.sum(tile.to(tl.float32) * y[None, :], axis=1)


@triton.jit
def _begin(
    given, states, last, embed, weight, residual, out, width, epsilon,
    BLOCK: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    follow(CHAINED)
    row = tl.program_id(0).to(tl.int64)
    token = tl.load(given + row).to(tl.int64)
    state = tl.load(states + row).to(tl.int64)
    token = tl.where(token >= 0, token, tl.load(last + state))
    at = tl.arange(0, BLOCK)
    mask = at < width
    x = tl.load(embed + token * width + at, mask=mask, other=0.0)
    tl.store(residual + row * width + at, x, mask=mask)
    value = x.to(tl.float32)
    rstd = tl.rsqrt(tl.sum(value * value, axis=0) / width + epsilon)
    scale = tl.load(weight + at, mask=mask, other=0.0).to(tl.float32)
    normed = (value * rstd).to(x.dtype).to(tl.float32) * scale
    tl.store(out + row * width + at, normed.to(x.dtype), mask=mask)


@triton.jit
def _add_norm(
    delta, residual, weight, out, b, slots, delta_stride, split_stride, width, epsilon,
    BLOCK: tl.constexpr, R: tl.constexpr, SPLITS: tl.constexpr,
    CHAINED: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    mask = at < width
    scale = tl.load(weight + at, mask=mask, other=0.0).to(tl.float32)
    follow(CHAINED)
    before = tl.load(residual + row * width + at, mask=mask, other=0.0)
    narrow = residual.dtype.element_ty
    source = delta + row * delta_stride
    added = summed(source + at, mask, split_stride, SPLITS, narrow)
    if R > 0:
        slot = tl.load(slots + row)
        added = _widen(
            added, source + width, split_stride, b, slot, 0, at, mask, width, 1, R, SPLITS
        )
        added = added.to(narrow).to(tl.float32)
    value = (before.to(tl.float32) + added).to(narrow)
    tl.store(residual + row * width + at, value, mask=mask)
    value = value.to(tl.float32)
    rstd = tl.rsqrt(tl.sum(value * value, axis=0) / width + epsilon)
    normed = (value * rstd).to(narrow).to(tl.float32) * scale
    tl.store(out + row * width + at, normed.to(narrow), mask=mask)


@triton.jit
def _rotate_store(
    qkv, positions, cos, sin, places, queries, keys, values, b, slots, qkv_stride, split_stride,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HALF: tl.constexpr, R: tl.constexpr,
    SPLITS: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """One head of one row: queries are turned, keys turned and stored, values stored."""
    follow(CHAINED)
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    size: tl.constexpr = 2 * HALF
    width: tl.constexpr = (HEADS + 2 * KV_HEADS) * size
    at = tl.arange(0, HALF)
    every = at < HALF
    source = qkv + row * qkv_stride
    narrow = keys.dtype.element_ty
    first = summed(source + head * size + at, every, split_stride, SPLITS, narrow)
    second = summed(source + head * size + HALF + at, every, split_stride, SPLITS, narrow)
    if R > 0:
        slot = tl.load(slots + row)
        part = (head >= HEADS).to(tl.int32) + (head >= HEADS + KV_HEADS).to(tl.int32)
        low = source + width
        first = _widen(
            first, low, split_stride, b, slot, part, head * size + at, every, width, 3, R, SPLITS
        )
        second = _widen(
            second, low, split_stride, b, slot, part, head * size + HALF + at, every, width, 3, R,
            SPLITS,
        )  # fmt: skip
        first = first.to(narrow).to(tl.float32)
        second = second.to(narrow).to(tl.float32)
    if head < HEADS + KV_HEADS:
        position = tl.load(positions + row).to(tl.int64)
        c = tl.load(cos + position * HALF + at)
        s = tl.load(sin + position * HALF + at)
        turned = first * c - second * s
        second = second * c + first * s
        first = turned
    place = tl.load(places + row).to(tl.int64)
    if head < HEADS:
        target = queries + (row * HEADS + head) * size
    elif head < HEADS + KV_HEADS:
        target = keys + (place * KV_HEADS + head - HEADS) * size
    else:
        target = values + (place * KV_HEADS + head - HEADS - KV_HEADS) * size
    tl.store(target + at, first.to(narrow))
    tl.store(target + HALF + at, second.to(narrow))


@triton.jit
def _gate(
    gate_up, out, b, slots, stride, width, n,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """Some columns of ROWS rows, one row after the other: rows of one adapter find its B in L1."""
    follow(CHAINED)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    first = tl.program_id(0).to(tl.int64) * ROWS
    for next_one in range(0, ROWS):
        row = first + next_one
        mask = (at < width) & (row < n)
        source = gate_up + row * stride
        gate = tl.load(source + at, mask=mask, other=0.0)
        narrow = gate.dtype
        gate = gate.to(tl.float32)
        up = tl.load(source + width + at, mask=mask, other=0.0).to(tl.float32)
        if R > 0:
            slot = tl.load(slots + row, mask=row < n, other=-1)
            low = source + 2 * width
            gate = _widen(gate, low, 0, b, slot, 0, at, mask, 2 * width, 2, R, 1)
            up = _widen(up, low, 0, b, slot, 1, width + at, mask, 2 * width, 2, R, 1)
            gate = gate.to(narrow).to(tl.float32)
            up = up.to(narrow).to(tl.float32)
        opened = (gate * tl.sigmoid(gate)).to(narrow).to(tl.float32)
        tl.store(out + row * width + at, (opened * up).to(narrow), mask=mask)


@triton.jit
def _best_part(
    logits, values, ids, vocabulary, parts, BLOCK: tl.constexpr, CHAINED: tl.constexpr
):  # fmt: skip
    """The largest logit of one part of one row; of equals, the first."""
    follow(CHAINED)
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    at = part * BLOCK + tl.arange(0, BLOCK)
    inside = at < vocabulary
    x = tl.load(logits + row * vocabulary + at, mask=inside, other=float("-inf")).to(tl.float32)
    best = tl.max(x, axis=0)
    tl.store(values + row * parts + part, best)
    tl.store(ids + row * parts + part, tl.min(tl.where(x == best, at, vocabulary), axis=0))


@triton.jit
def _best(
    values, ids, tokens, last, states, parts, vocabulary,
    PARTS: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    follow(CHAINED)
    row = tl.program_id(0).to(tl.int64)
    part = tl.arange(0, PARTS)
    there = part < parts
    value = tl.load(values + row * parts + part, mask=there, other=float("-inf"))
    token = tl.load(ids + row * parts + part, mask=there, other=vocabulary)
    best = tl.max(value, axis=0)
    # logits that are no numbers equal nothing: the first token stands for them
    chosen = tl.min(tl.where(value == best, token, vocabulary), axis=0).to(tl.int64)
    chosen = tl.where(chosen < vocabulary, chosen, 0)
    tl.store(tokens + row, chosen)
    tl.store(last + tl.load(states + row), chosen)


def begin(
    given: Tensor, states: Tensor, last: Tensor, embed: Tensor, weight: Tensor,
    residual: Tensor, out: Tensor, epsilon: float,
) -> None:  # fmt: skip
    """Embeds each row's token (the one given, or for −1 the last one sampled of its state) into
    `residual` (n, H) and its norm into `out` (n, H)."""
    n, width = out.shape
    block = triton.next_power_of_2(width)
    _begin[(n,)](
        given, states, last, embed, weight, residual, out, width, epsilon,
        BLOCK=block, num_warps=_warps(block), **chained(out.device),
    )  # fmt: skip


def add_norm(
    delta: Tensor, residual: Tensor, weight: Tensor, out: Tensor, epsilon: float,
    b: Tensor | None, slots: Tensor, rank: int,
) -> None:  # fmt: skip
    """residual += the sum of delta (splits, n, ≥ H) with its adapter; out = the norm of residual.
    residual and out (n, H)."""
    n, width = residual.shape
    block = triton.next_power_of_2(width)
    _add_norm[(n,)](
        delta, residual, weight, out, weight if b is None else b, slots, delta.stride(1),
        delta.stride(0), width, epsilon, BLOCK=block, R=rank if b is not None else 0,
        SPLITS=delta.shape[0], num_warps=_warps(block) * (2 if b is not None else 1),
        **chained(out.device),
    )  # fmt: skip


def rotate_store(
    qkv: Tensor, positions: Tensor, cos: Tensor, sin: Tensor, places: Tensor, queries: Tensor,
    keys: Tensor, values: Tensor, b: Tensor | None, slots: Tensor, rank: int,
) -> None:  # fmt: skip
    """qkv (splits, n, ≥ Q + 2K) → queries (n, heads, D), and keys and values to their places in the
    pool."""
    n, heads, size = queries.shape
    kv_heads = keys.shape[-2]
    _rotate_store[(n, heads + 2 * kv_heads)](
        qkv, positions, cos, sin, places, queries, keys, values, keys if b is None else b, slots,
        qkv.stride(1), qkv.stride(0), HEADS=heads, KV_HEADS=kv_heads, HALF=size // 2,
        R=rank if b is not None else 0, SPLITS=qkv.shape[0], num_warps=1, **chained(keys.device),
    )  # fmt: skip


def gate(gate_up: Tensor, out: Tensor, b: Tensor | None, slots: Tensor, rank: int) -> None:
    """SiLU(gate) · up: (n, ≥ 2I) → (n, I)."""
    n, width = out.shape
    rank = rank if b is not None else 0
    block = min(256 if rank else 1024, triton.next_power_of_2(width))
    rows = min(8, triton.cdiv(n, 8)) if rank else 1
    _gate[(triton.cdiv(n, rows), triton.cdiv(width, block))](
        gate_up, out, gate_up if b is None else b, slots, gate_up.stride(0), width, n,
        ROWS=rows, BLOCK=block, R=rank, num_warps=4, **chained(out.device),
    )  # fmt: skip


def best_parts(n: int, vocabulary: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scratch for `best` over up to n rows."""
    size = (n, triton.cdiv(vocabulary, _BEST_BLOCK))
    values = torch.empty(size, device=device, dtype=torch.float32)
    return values, torch.empty(size, device=device, dtype=torch.int32)


def best(
    logits: Tensor, parts: tuple[Tensor, Tensor], tokens: Tensor, last: Tensor, states: Tensor
) -> None:
    """tokens (n,) = arg-max of logits (n, V), the first of equals; last[states] = tokens."""
    n, vocabulary = logits.shape
    values, ids = parts
    count = values.shape[1]
    chain = chained(logits.device)
    _best_part[(n, count)](
        logits, values, ids, vocabulary, count, BLOCK=_BEST_BLOCK, num_warps=4, **chain
    )
    _best[(n,)](
        values, ids, tokens, last, states, count, vocabulary,
        PARTS=triton.next_power_of_2(count), num_warps=1, **chain,
    )  # fmt: skip


def _warps(block: int) -> int:
    return 8 if block >= 2048 else 4
