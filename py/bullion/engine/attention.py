"""Attention over paged keys and values on the CPU, one sequence after the other.

A row's result depends on its own sequence alone: not on who else is in the batch, and not on how a
prompt was cut into pieces. For that, query rows are padded to whole blocks of the kernel and keys to
whole pages, masked: the kernel then sums in one order whatever the lengths are (a test looks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 32  # query rows the kernel works on at once


@dataclass(frozen=True)
class Span:
    """Rows [start, end) of a batch are the last tokens of a sequence of `length` tokens."""

    start: int
    end: int
    length: int
    pages: Tensor  # (p,) int64
    prompt: bool  # part of a prompt, even when it is one row


def attend(q: Tensor, keys: Tensor, values: Tensor, spans: Sequence[Span]) -> Tensor:
    """q (n, heads, D); keys and values (pages, page_tokens, kv_heads, D) → (n, heads · D)."""
    n, heads, size = q.shape
    kv_heads = keys.shape[2]
    out = torch.zeros_like(q)  # rows that belong to no span stay so
    for span in spans:
        count = span.end - span.start
        rows = q[span.start : span.end].view(count, kv_heads, heads // kv_heads, size)
        k = _gather(keys, span)  # (kv_heads, whole pages, D)
        v = _gather(values, span)
        if not span.prompt:
            # the query heads of a group are the rows: no head is repeated, nothing is masked
            k, v = k[:, : span.length], v[:, : span.length]
            mixed = F.scaled_dot_product_attention(rows[0][None], k[None], v[None])[0]
            out[span.start] = mixed.reshape(heads, size)
            continue
        padded = -(-count // _BLOCK) * _BLOCK
        rows = F.pad(rows.permute(1, 2, 0, 3), (0, 0, 0, padded - count))
        group = heads // kv_heads
        places = torch.arange(span.length - count, span.length - count + padded).unsqueeze(1)
        mixed = F.scaled_dot_product_attention(
            rows,
            k[:, None].expand(-1, group, -1, -1),
            v[:, None].expand(-1, group, -1, -1),
            attn_mask=torch.arange(k.shape[1]) <= places,
        )
        mixed = mixed[:, :, :count].permute(2, 0, 1, 3)
        out[span.start : span.end] = mixed.reshape(count, heads, size)
    return out.view(n, heads * size)


def _gather(pool: Tensor, span: Span) -> Tensor:
    return pool.index_select(0, span.pages).flatten(0, 1).transpose(0, 1)
