"""Causal attention inside each record of a pack, forward and backward.

On CUDA one variable-length flash kernel; on the CPU record by record, because a dense block mask is
slower there. It owns no buffers and rotates nothing.

Legend: T tokens of the pack; Hq query heads, Hk key heads; D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor

_ops: Any = torch.ops.aten


class Attention(Protocol):
    """The records of one pack."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """q: (T, Hq, D), k and v: (T, Hk, D) → (T, Hq, D), contiguous, and the log-sum-exp."""
        ...

    def backward(
        self, dout: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of q, k and v, in their shapes."""
        ...


def attention_over(lengths: Sequence[int], device: torch.device) -> Attention:
    return VariableLength(lengths, device) if device.type == "cuda" else ByRecord(lengths)


class VariableLength:
    """Flash attention with cumulative lengths; bf16 on CUDA."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        self._ends = ends.pin_memory().to(device, non_blocking=True)
        self._longest = max(lengths)
        self._state: tuple[Tensor, Tensor] | None = None  # unused without dropout, yet asked for

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        ends, longest = self._ends, self._longest
        out, lse, state, unused, _ = _ops._flash_attention_forward(
            q, k, v, ends, ends, longest, longest, 0.0, True, False
        )
        self._state = (state, unused)
        return out, lse

    def backward(
        self, dout: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        assert self._state is not None
        ends, longest = self._ends, self._longest
        return _ops._flash_attention_backward(
            dout, q, k, v, out, lse, ends, ends, longest, longest, 0.0, True, *self._state
        )


class ByRecord:
    """One flash call a record; key heads are repeated for the query heads that share them."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._spans = [(end - n, end) for n, end in zip(lengths, accumulate(lengths), strict=True)]

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        out = q.new_empty(q.shape)
        lse = torch.empty(q.shape[1], q.shape[0], dtype=torch.float32)  # (Hq, T)
        for start, end in self._spans:
            record, sums = _ops._scaled_dot_product_flash_attention_for_cpu(
                *_heads_first(q, k, v, start, end), 0.0, True
            )
            out[start:end] = record[0].transpose(0, 1)
            lse[:, start:end] = sums.view(q.shape[1], end - start)
        return out, lse

    def backward(
        self, dout: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        dq, dk, dv = q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)
        heads, kv_heads, width = q.shape[1], k.shape[1], q.shape[2]
        for start, end in self._spans:
            n = end - start
            gradients = _ops._scaled_dot_product_flash_attention_for_cpu_backward(
                dout[start:end].transpose(0, 1)[None],
                *_heads_first(q, k, v, start, end),
                out[start:end].transpose(0, 1)[None],
                lse[:, start:end].contiguous()[None],
                0.0,
                True,
            )
            dq[start:end] = gradients[0][0].transpose(0, 1)
            for into, each in ((dk, gradients[1]), (dv, gradients[2])):
                shared = each.view(kv_heads, heads // kv_heads, n, width).sum(1)
                into[start:end] = shared.transpose(0, 1)
        return dq, dk, dv


def _heads_first(q: Tensor, k: Tensor, v: Tensor, start: int, end: int) -> list[Tensor]:
    """(T, heads, D) → (1, Hq, n, D) of one record."""
    n, heads, width = end - start, q.shape[1], q.shape[2]
    repeated = [
        t[start:end].transpose(0, 1)[:, None].expand(-1, heads // t.shape[1], -1, -1)
        for t in (q, k, v)
    ]
    return [t.reshape(1, heads, n, width) for t in repeated]
