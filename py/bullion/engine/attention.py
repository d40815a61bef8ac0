"""Attention over paged keys and values on the CPU, one sequence after the other.

A row's result depends on its own sequence alone: not on who else is in the batch, not on how a prompt
was cut into pieces, not on which pages it holds. Libraries sum in an order that the lengths decide, so
a prompt's rows are computed a page at a time over the keys up to the end of that page, masked: the
lengths are then those of the row's place (a test looks). It also halves the work of a long prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


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
    """Rows of one page at a time, over the keys of all pages up to theirs; query heads of a group are
    the kernel's rows beside each other."""
    page, kv_heads, size = cache.shape[2], cache.shape[3] // 2, cache.shape[4]
    count, group = span.end - span.start, heads // kv_heads
    start = span.length - count
    before, lead = divmod(
        start, page
    )  # whole pages, then rows of the first one, that were computed
    blocks = -(-span.length // page) - before
    held = _held(cache, span.pages, (before + blocks) * page)
    masks = torch.zeros(page, (before + blocks) * page)
    masks[:, -page:] = torch.full((page, page), float("-inf")).triu(1)
    masks = masks.repeat(group, 1)  # the end of it is the mask of fewer keys
    padding = (0, 0, 0, 0, lead, blocks * page - lead - count)
    into = out[span.start : span.end].unflatten(1, (heads, size))

    def mix(layer: int, q: Tensor) -> None:
        keys, values = held(layer)
        rows = F.pad(q[span.start : span.end], padding)
        rows = rows.view(blocks, page, kv_heads, group, size).permute(0, 2, 3, 1, 4)
        rows = rows.reshape(blocks, 1, kv_heads, group * page, size)
        mixed = torch.empty_like(rows)
        for block in range(blocks):
            seen = (before + block + 1) * page
            mixed[block] = F.scaled_dot_product_attention(
                rows[block], keys[:, :, :seen], values[:, :, :seen], attn_mask=masks[:, -seen:]
            )
        mixed = mixed.view(blocks, kv_heads, group, page, size).permute(0, 3, 1, 2, 4)
        into.copy_(mixed.reshape(blocks * page, heads, size)[lead : lead + count])

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
