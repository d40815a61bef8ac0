"""The element-wise steps of a block as Triton kernels: each reads its inputs once and writes once.

The same functions as eager.py (attention_kernels.py turns gradients back itself); sums and intermediate values are fp32. Rounding follows Transformers
where it rounds on the way (the normalised row, SiLU), so that bf16 gives the same numbers.

Legend: T tokens; C chosen rows; H hidden; I MLP width; D head width; V vocabulary.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from bullion.train.llama.eager import LARGEST_FP8, TINY
from bullion.train.llama.launch import launch

# Triton's annotations are its own; the launches are untyped.
# mypy: disable-error-code="no-untyped-def"


@triton.jit
def _add_norm(
    x, delta, rows, weight, total, out,
    x_stride, delta_stride, total_stride, out_stride, width, epsilon,
    HAS_DELTA: tl.constexpr, HAS_ROWS: tl.constexpr, KEEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    source = tl.load(rows + row) if HAS_ROWS else row
    at = tl.arange(0, BLOCK)
    mask = at < width
    value = tl.load(x + source * x_stride + at, mask=mask, other=0.0)
    narrow = value.dtype
    value = value.to(tl.float32)
    if HAS_DELTA:
        value += tl.load(delta + source * delta_stride + at, mask=mask, other=0.0).to(tl.float32)
        value = value.to(narrow).to(tl.float32)
    if KEEP:
        tl.store(total + row * total_stride + at, value.to(narrow), mask=mask)
    rstd = tl.rsqrt(tl.sum(value * value, axis=0) / width + epsilon)
    scale = tl.load(weight + at, mask=mask, other=0.0).to(tl.float32)
    normed = (value * rstd).to(narrow).to(tl.float32) * scale
    tl.store(out + row * out_stride + at, normed.to(narrow), mask=mask)


@triton.jit
def _norm_backward(
    dout, x, rows, weight, dx, dout_stride, x_stride, dx_stride, width, epsilon,
    HAS_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    into = tl.load(rows + row) if HAS_ROWS else row
    at = tl.arange(0, BLOCK)
    mask = at < width
    value = tl.load(x + row * x_stride + at, mask=mask, other=0.0).to(tl.float32)
    slope = tl.load(dout + row * dout_stride + at, mask=mask, other=0.0).to(tl.float32)
    slope *= tl.load(weight + at, mask=mask, other=0.0).to(tl.float32)
    before = tl.load(dx + into * dx_stride + at, mask=mask, other=0.0)
    rstd = tl.rsqrt(tl.sum(value * value, axis=0) / width + epsilon)
    mean = tl.sum(slope * value, axis=0) / width * rstd * rstd
    gradient = (slope - value * mean) * rstd + before.to(tl.float32)
    tl.store(dx + into * dx_stride + at, gradient.to(before.dtype), mask=mask)


@triton.jit
def _rotate(
    qk, cos, sin, stride, heads, half,
    HEADS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    at = tl.arange(0, HALF)
    c = tl.load(cos + token * half + at, mask=at < half, other=0.0).to(tl.float32)[None, :]
    s = tl.load(sin + token * half + at, mask=at < half, other=0.0).to(tl.float32)[None, :]
    mask = (head < heads)[:, None] & (at < half)[None, :]
    place = qk + token * stride + head[:, None] * (2 * half) + at[None, :]
    first = tl.load(place, mask=mask, other=0.0)
    second = tl.load(place + half, mask=mask, other=0.0)
    narrow = first.dtype
    first, second = first.to(tl.float32), second.to(tl.float32)
    tl.store(place, (first * c - second * s).to(narrow), mask=mask)
    tl.store(place + half, (second * c + first * s).to(narrow), mask=mask)


@triton.jit
def _swiglu(gate_up, out, in_stride, out_stride, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = at < width
    gate = tl.load(gate_up + row * in_stride + at, mask=mask, other=0.0)
    up = tl.load(gate_up + row * in_stride + width + at, mask=mask, other=0.0).to(tl.float32)
    narrow = gate.dtype
    gate = gate.to(tl.float32)
    activated = (gate * tl.sigmoid(gate)).to(narrow).to(tl.float32)
    tl.store(out + row * out_stride + at, (activated * up).to(narrow), mask=mask)


@triton.jit
def _swiglu_backward(
    dout, gate_up, into, again, dout_stride, in_stride, into_stride, again_stride, width,
    AGAIN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = at < width
    gate = tl.load(gate_up + row * in_stride + at, mask=mask, other=0.0)
    up = tl.load(gate_up + row * in_stride + width + at, mask=mask, other=0.0).to(tl.float32)
    slope = tl.load(dout + row * dout_stride + at, mask=mask, other=0.0).to(tl.float32)
    narrow = gate.dtype
    gate = gate.to(tl.float32)
    sigmoid = tl.sigmoid(gate)
    activated = (gate * sigmoid).to(narrow).to(tl.float32)
    if AGAIN:
        tl.store(again + row * again_stride + at, (activated * up).to(narrow), mask=mask)
    d_gate = slope * up * (sigmoid * (1.0 + gate * (1.0 - sigmoid)))
    tl.store(into + row * into_stride + at, d_gate.to(narrow), mask=mask)
    tl.store(into + row * into_stride + width + at, (slope * activated).to(narrow), mask=mask)


# Chunks start at any row: without this Triton would compile again for every kind of address.
@triton.jit(do_not_specialize_on_alignment=["targets", "losses"])
def _cross_entropy(logits, targets, losses, stride, classes, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = logits + row * stride
    target = tl.load(targets + row)
    chosen = tl.load(place + target).to(tl.float32)
    at = tl.arange(0, BLOCK)
    top = tl.full((), float("-inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    for start in range(0, classes, BLOCK):
        z = tl.load(place + start + at, mask=start + at < classes, other=float("-inf"))
        z = z.to(tl.float32)
        higher = tl.maximum(top, tl.max(z, axis=0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(z - higher), axis=0)
        top = higher
    normaliser = top + tl.log(total)
    tl.store(losses + row, normaliser - chosen)
    for start in range(0, classes, BLOCK):
        z = tl.load(place + start + at, mask=start + at < classes, other=float("-inf"))
        p = tl.exp(z.to(tl.float32) - normaliser)
        p = tl.where(start + at == target, p - 1.0, p)
        tl.store(place + start + at, p.to(z.dtype), mask=start + at < classes)


@triton.jit
def _quantise(
    x, values, scales, x_stride, width, LARGEST: tl.constexpr, TINY: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    place = x + row * x_stride
    top = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, width, BLOCK):
        value = tl.load(place + start + at, mask=start + at < width, other=0.0)
        top = tl.maximum(top, tl.abs(value.to(tl.float32)))
    largest = tl.maximum(tl.max(top, axis=0), TINY)
    tl.store(scales + row, largest / LARGEST)
    for start in range(0, width, BLOCK):
        mask = start + at < width
        value = tl.load(place + start + at, mask=mask, other=0.0).to(tl.float32)
        scaled = tl.clamp(value * (LARGEST / largest), -LARGEST, LARGEST)
        tl.store(values + row * width + start + at, scaled.to(values.dtype.element_ty), mask=mask)


def add_norm(
    x: Tensor,
    delta: Tensor | None,
    rows: Tensor | None,
    weight: Tensor,
    epsilon: float,
    total: Tensor | None,
    out: Tensor,
) -> None:
    """total = (x + delta)[rows] and out = RMSNorm(total)·weight; x, delta: (T, H), total, out: (C, H)."""
    count, width = out.shape
    launch(
        _add_norm, (count,),
        x, _or(delta, x), _or(rows, x), weight, _or(total, out), out,
        x.stride(0), _or(delta, x).stride(0), _or(total, out).stride(0), out.stride(0),
        width, epsilon,
        HAS_DELTA=delta is not None, HAS_ROWS=rows is not None, KEEP=total is not None,
        BLOCK=triton.next_power_of_2(width), num_warps=_warps(width),
    )  # fmt: skip


def norm_backward(
    dout: Tensor, x: Tensor, rows: Tensor | None, weight: Tensor, epsilon: float, dx: Tensor
) -> None:
    """dx[rows] += the gradient of RMSNorm(x)·weight; dout, x: (C, H), dx: (T, H)."""
    count, width = dout.shape
    launch(
        _norm_backward, (count,),
        dout, x, _or(rows, x), weight, dx, dout.stride(0), x.stride(0), dx.stride(0),
        width, epsilon, HAS_ROWS=rows is not None,
        BLOCK=triton.next_power_of_2(width), num_warps=_warps(width),
    )  # fmt: skip


def rotate(qk: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn query and key heads, in place; qk: (T, heads, D), cos and sin: (T, D/2)."""
    tokens, heads, width = qk.shape
    launch(
        _rotate, (tokens, triton.cdiv(heads, 8)),
        qk, cos, sin, qk.stride(0), heads, width // 2,
        HEADS=8, HALF=triton.next_power_of_2(width // 2), num_warps=2,
    )  # fmt: skip


def swiglu(gate_up: Tensor, out: Tensor) -> None:
    """gate_up: (T, 2·I), gate first → out: (T, I) = silu(gate)·up."""
    tokens, width = out.shape
    block = min(2048, triton.next_power_of_2(width))
    launch(
        _swiglu,
        (tokens, triton.cdiv(width, block)),
        gate_up,
        out,
        gate_up.stride(0),
        out.stride(0),
        width,
        BLOCK=block,
        num_warps=8,
    )


def swiglu_backward(dout: Tensor, gate_up: Tensor, into: Tensor, again: Tensor | None) -> None:
    """into: (T, 2·I) = the gradient of gate_up; `again`: (T, I) is filled with swiglu(gate_up)."""
    tokens, width = dout.shape
    block = min(2048, triton.next_power_of_2(width))
    filled = _or(again, dout)
    launch(
        _swiglu_backward, (tokens, triton.cdiv(width, block)),
        dout, gate_up, into, filled,
        dout.stride(0), gate_up.stride(0), into.stride(0), filled.stride(0), width,
        AGAIN=again is not None, BLOCK=block, num_warps=8,
    )  # fmt: skip


def quantise(x: Tensor, values: Tensor, scales: Tensor) -> None:
    """values: (T, K) e4m3 = x / scales, to the nearest; scales: (T, 1) fp32 = largest of the row / 448."""
    count, width = x.shape
    launch(
        _quantise,
        (count,),
        x,
        values,
        scales,
        x.stride(0),
        width,
        LARGEST=LARGEST_FP8,
        TINY=TINY,
        BLOCK=min(4096, triton.next_power_of_2(width)),
        num_warps=8,
    )


def cross_entropy(logits: Tensor, targets: Tensor, losses: Tensor) -> None:
    """losses: (C,) fp32 = cross-entropy; logits: (C, V) become its gradient, softmax − one-hot."""
    count, classes = logits.shape
    block = min(8192, triton.next_power_of_2(classes))
    launch(
        _cross_entropy,
        (count,),
        logits,
        targets,
        losses,
        logits.stride(0),
        classes,
        BLOCK=block,
        num_warps=16,
    )


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    """A kernel takes a pointer also where it will not look."""
    return other if tensor is None else tensor


def _warps(width: int) -> int:
    return max(1, min(16, triton.next_power_of_2(width) // 512))
