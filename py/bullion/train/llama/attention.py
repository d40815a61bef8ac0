"""Causal attention inside each record of a pack, forward and backward.

On CUDA Triton kernels made for packs of records; on the CPU a call a record: a dense block mask is slower
there, and so are records padded to one batch. It owns no activations. q and k come rotated; their gradients leave turned back.

Legend: T tokens of the pack; Hq query heads, Hk key heads; D head width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor

from bullion.train.llama import eager

_ops: Any = torch.ops.aten


class Attention(Protocol):
    """The records of one pack."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """q: (T, Hq, D), k and v: (T, Hk, D) → (T, Hq, D), contiguous, and the log-sum-exp."""
        ...

    def backward(
        self,
        dout: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        cos: Tensor,
        sin: Tensor,
        into: Tensor,
    ) -> None:
        """into: (T, Hq + 2·Hk, D) = the gradients of q and k before rotation, and of v.

        cos, sin: (T, D/2). dout: (T, Hq, D); heads lie densely in all of them.
        """
        ...


TILED_WIDTHS = (32, 64, 128)
"""Features a head may have for `Tiles`."""

AttentionOver = Callable[[Sequence[int], torch.device], Attention]
"""Makes the attention of a pack from the lengths of its records."""


class Tiles:
    """attention_kernels.py; work is listed by tiles of a record, see there."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        from bullion.train.llama import attention_kernels

        self._kernels = attention_kernels
        rows = attention_kernels.ROWS
        tiles = [
            (end - n, row, n)
            for n, end in zip(lengths, accumulate(lengths), strict=True)
            for row in range(0, n, rows)
        ]
        by_query = sorted(tiles, key=lambda tile: -tile[1])
        by_key = sorted(tiles, key=lambda tile: tile[1] - tile[2])
        both = torch.tensor([by_query, by_key], dtype=torch.int32)  # (2, tiles, 3)
        if device.type == "cuda":
            both = both.pin_memory().to(device, non_blocking=True)
        self._by_query, self._by_key = both

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self._kernels.forward(q, k, v, self._by_query)

    def backward(
        self,
        dout: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        cos: Tensor,
        sin: Tensor,
        into: Tensor,
    ) -> None:
        tiles = self._by_query, self._by_key
        self._kernels.backward(dout, q, k, v, out, lse, cos, sin, into, *tiles)


class ByRecord:
    """One flash call a record on the CPU; key heads are repeated for the query heads sharing them."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
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
        self,
        dout: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        cos: Tensor,
        sin: Tensor,
        into: Tensor,
    ) -> None:
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
            for each, shared in ((dk, gradients[1]), (dv, gradients[2])):
                summed = shared.view(kv_heads, heads // kv_heads, n, width).sum(1)
                each[start:end] = summed.transpose(0, 1)
        eager.rotate_back(dq, dk, dv, cos, sin, into)


def _heads_first(q: Tensor, k: Tensor, v: Tensor, start: int, end: int) -> list[Tensor]:
    """(T, heads, D) → (1, Hq, n, D) of one record."""
    n, heads, width = end - start, q.shape[1], q.shape[2]
    repeated = [
        t[start:end].transpose(0, 1)[:, None].expand(-1, heads // t.shape[1], -1, -1)
        for t in (q, k, v)
    ]
    return [t.reshape(1, heads, n, width) for t in repeated]
