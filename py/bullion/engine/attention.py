"""Attention over paged keys and values on the CPU, one sequence after the other.

A row's result depends on its own sequence alone: not on who else is in the batch, not on how a prompt
was cut into pieces, not on which pages it holds. For that, a prompt's query rows are padded to whole
blocks of the kernel and its keys to whole pages, masked: the kernel then sums in one order whatever
the lengths are (a test looks).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    pages: Sequence[int]
    prompt: bool  # part of a prompt, even when it is one row


class StepAttention:
    """The attention of one step. What its layers share is made once, here.

    `cache` is (layers, pages, page_tokens, 2 · kv_heads, D): a token's keys, then its values.
    """

    def __init__(self, cache: Tensor, spans: Sequence[Span], rows: int, heads: int) -> None:
        self._out = cache.new_zeros(rows, heads * cache.shape[-1])  # rows of no span stay so
        self._mix = [
            (_prompt if span.prompt else _decode)(cache, span, heads, self._out) for span in spans
        ]

    def __call__(self, layer: int, q: Tensor) -> Tensor:
        """(rows, heads, D) → (rows, heads · D), which the next call overwrites."""
        for mix in self._mix:
            mix(layer, q)
        return self._out


def _decode(cache: Tensor, span: Span, heads: int, out: Tensor) -> Callable[[int, Tensor], None]:
    """One row; the query heads of a group are the kernel's rows: none is repeated, none masked."""
    kv_heads, size = cache.shape[3] // 2, cache.shape[4]
    held = _held(cache, span.pages, span.length)
    row, grouped = span.start, (1, kv_heads, heads // kv_heads, size)
    into = out[row].view(grouped)

    def mix(layer: int, q: Tensor) -> None:
        keys, values = held(layer)
        into.copy_(F.scaled_dot_product_attention(q[row].view(grouped), keys, values))

    return mix


def _prompt(cache: Tensor, span: Span, heads: int, out: Tensor) -> Callable[[int, Tensor], None]:
    kv_heads, size = cache.shape[3] // 2, cache.shape[4]
    count, group = span.end - span.start, heads // kv_heads
    padded = -(-count // _BLOCK) * _BLOCK
    whole = -(-span.length // cache.shape[2]) * cache.shape[2]
    held = _held(cache, span.pages, whole)
    places = torch.arange(span.length - count, span.length - count + padded).unsqueeze(1)
    mask = torch.zeros(padded, whole).masked_fill_(torch.arange(whole) > places, float("-inf"))
    into = out[span.start : span.end].view(count, kv_heads, group, size)

    def mix(layer: int, q: Tensor) -> None:
        keys, values = (
            x.transpose(0, 1).expand(-1, group, -1, -1)  # (kv_heads, group, whole, D)
            for x in held(layer)
        )
        rows = q[span.start : span.end].unflatten(1, (kv_heads, group)).permute(1, 2, 0, 3)
        if padded > count:
            rows = F.pad(rows, (0, 0, 0, padded - count))
        mixed = F.scaled_dot_product_attention(rows, keys, values, attn_mask=mask)
        into.copy_(mixed[:, :, :count].permute(2, 0, 1, 3))

    return mix


def _held(
    cache: Tensor, pages: Sequence[int], length: int
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Layer ↦ keys and values of a sequence's first `length` tokens, each (1, kv_heads, length, D).

    Read where they lie when the pages are neighbours, gathered otherwise; the strides are the same.
    """
    if list(pages) == list(range(pages[0], pages[0] + len(pages))):
        first = pages[0] * cache.shape[2]
        tokens = cache.flatten(1, 2)[:, first : first + length]
        keys, values = (x.unbind() for x in tokens.transpose(1, 2).unsqueeze(1).chunk(2, dim=2))
        return lambda layer: (keys[layer], values[layer])
    index = torch.tensor(pages)

    def gathered(layer: int) -> tuple[Tensor, Tensor]:
        tokens = cache[layer].index_select(0, index).flatten(0, 1)[:length]
        keys, values = tokens.transpose(0, 1).unsqueeze(0).chunk(2, dim=1)
        return keys, values

    return gathered
