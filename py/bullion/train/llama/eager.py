"""The element-wise steps of a block in plain torch, in place; what the CPU runs.

kernels.py has the same functions as Triton kernels; one set of tests holds both to the same values.
Sums are taken in fp32.

Legend: T tokens; C rows chosen out of them (all when `rows` is None); H hidden; I MLP width;
D head width. Matrices may have spare columns behind their rows (row stride above width).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_ops: Any = torch.ops.aten
LARGEST_FP8 = 448.0  # of e4m3
TINY = 1e-12  # a row of zeros is divided by something


def add_norm(
    x: Tensor,
    delta: Tensor | None,
    rows: Tensor | None,
    weight: Tensor,
    epsilon: float,
    total: Tensor | None,
    out: Tensor,
) -> None:
    """total = (x + delta)[rows] and out = RMSNorm(total)·weight; x, delta: (T, H), total, out: (C, H).

    `total` None: the sum is not kept.
    """
    if rows is not None:
        x = x[rows]
        delta = None if delta is None else delta[rows]
    if delta is not None:
        x = torch.add(x, delta, out=total) if total is not None else x + delta
    elif total is not None:
        total.copy_(x)
    wide = x.float()
    rstd = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
    if x.dtype == torch.float32:
        torch.mul(wide, rstd, out=out).mul_(weight)
    else:
        torch.mul((wide * rstd).to(x.dtype), weight, out=out)


def norm_backward(
    dout: Tensor, x: Tensor, rows: Tensor | None, weight: Tensor, epsilon: float, dx: Tensor
) -> None:
    """dx[rows] += the gradient of RMSNorm(x)·weight; dout, x: (C, H), dx: (T, H)."""
    wide = x.float()
    rstd = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
    scaled = (dout.float() * weight.float()).mul_(rstd)
    mean = (scaled * wide).mean(-1, keepdim=True).mul_(rstd).mul_(rstd)
    gradient = scaled.addcmul_(wide, mean, value=-1)
    if rows is None:
        dx.add_(gradient)
    else:
        dx[rows] += gradient.to(dx.dtype)


def rotate(qk: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn query and key heads, in place; qk: (T, heads, D), cos and sin: (T, D/2)."""
    first, second = qk.chunk(2, dim=-1)
    c, s = cos[:, None], sin[:, None]
    turned = (first * c).addcmul_(second, s, value=-1)
    second.mul_(c).addcmul_(first, s)
    first.copy_(turned)


def rotate_back(dq: Tensor, dk: Tensor, dv: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """out: (T, Hq + 2·Hk, D) = the turned-back dq and dk, then dv as it is."""
    heads, kv_heads = dq.shape[1], dk.shape[1]
    c, s = cos[:, None], sin[:, None]
    for gradient, start in ((dq, 0), (dk, heads)):
        first, second = gradient.chunk(2, dim=-1)
        into_first, into_second = out[:, start : start + gradient.shape[1]].chunk(2, dim=-1)
        torch.mul(first, c, out=into_first).addcmul_(second, s)
        torch.mul(second, c, out=into_second).addcmul_(first, s, value=-1)
    out[:, heads + kv_heads :].copy_(dv)


def swiglu(gate_up: Tensor, out: Tensor) -> None:
    """gate_up: (T, 2·I), gate first → out: (T, I) = silu(gate)·up."""
    gate, up = gate_up.chunk(2, dim=-1)
    if out.dtype == torch.float32:
        _ops.silu.out(gate, out=out).mul_(up)
    else:
        torch.mul(F.silu(gate), up, out=out)


def swiglu_backward(dout: Tensor, gate_up: Tensor, into: Tensor, again: Tensor | None) -> None:
    """into: (T, 2·I) = the gradient of gate_up; `again`: (T, I) is filled with swiglu(gate_up)."""
    gate, up = gate_up.chunk(2, dim=-1)
    d_gate, d_up = into.chunk(2, dim=-1)
    activated = F.silu(gate)
    if again is not None:
        torch.mul(activated, up, out=again)
    torch.mul(dout, activated, out=d_up)
    _ops.silu_backward.grad_input(dout * up, gate, grad_input=d_gate)


def quantise(x: Tensor, values: Tensor, scales: Tensor) -> None:
    """values: (T, K) e4m3 = x / scales, to the nearest; scales: (T, 1) fp32 = largest of the row / 448."""
    wide = x.float()
    largest = wide.abs().amax(1, keepdim=True).clamp_(min=TINY)
    torch.div(largest, LARGEST_FP8, out=scales)
    values.copy_((wide * (LARGEST_FP8 / largest)).clamp_(-LARGEST_FP8, LARGEST_FP8))


def cross_entropy(logits: Tensor, targets: Tensor, losses: Tensor) -> None:
    """losses: (C,) fp32 = cross-entropy; logits: (C, V) become its gradient, softmax − one-hot."""
    chosen = logits.gather(1, targets[:, None]).float()
    top, likeliest = logits.max(-1, keepdim=True)
    shares = torch.softmax(logits, -1, dtype=torch.float32)
    # log Σ exp by the likeliest token, whose share cannot vanish.
    normaliser = top.float() - shares.gather(1, likeliest).log_()
    torch.sub(normaliser, chosen, out=losses[:, None])
    logits.copy_(shares.scatter_add_(1, targets[:, None], torch.full_like(normaliser, -1)))
