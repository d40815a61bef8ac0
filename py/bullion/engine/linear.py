"""A fused linear layer of the base with any number of adapters over it.

It owns how the product is computed on the CPU, and that a row's result never depends on how many
rows are computed beside it. What an adapter is, adapters.py knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST_ROWS = 4  # below, a row may be summed in another order


@dataclass(frozen=True)
class LoraRows:
    """Which adapter slot works on which rows of a batch; None for the rows: all of them."""

    groups: list[tuple[int, Tensor | None]]


def product(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """x ↦ x Wᵀ + b on the CPU, for rows x (n, in) of any n, each row by itself to the last bit.

    From four rows on, BLAS and oneDNN sum every row in the same order whatever n is (a test looks);
    below, some machines choose another kernel, so fewer rows are padded. oneDNN with weights packed
    for it is 2 to 3 times faster than BLAS at a handful of rows.
    """
    if torch.backends.mkldnn.is_available() and weight.dtype == torch.float32:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 8)
        linear = torch.ops.mkldnn._linear_pointwise

        def multiply(x: Tensor) -> Tensor:
            return linear(x, packed, bias, "none", [], "")  # type: ignore[no-any-return]
    else:

        def multiply(x: Tensor) -> Tensor:
            return F.linear(x, weight, bias)

    def padded(x: Tensor) -> Tensor:
        n = x.shape[0]
        if n >= FEWEST_ROWS:
            return multiply(x)
        return multiply(F.pad(x, (0, 0, 0, FEWEST_ROWS - n)))[:n]

    return padded


class Site:
    """One fused layer and what adapters add to it. `parts` are the row counts that it joins."""

    def __init__(self, weight: Tensor, bias: Tensor | None, parts: Sequence[int]) -> None:
        self._base = product(weight, bias)
        self._parts = parts
        self._adapters: dict[
            int, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
        ] = {}

    def put(self, slot: int, parts: Sequence[tuple[Tensor, Tensor] | None]) -> None:
        """Adapter `slot` adds x Aᵀ Bᵀ to each part that it has: A (r, in), B (rows, r)."""
        ranks = [pair[0].shape[0] if pair else 0 for pair in parts]
        down = torch.cat([pair[0] for pair in parts if pair])  # (Σr, in)
        up = torch.zeros(sum(self._parts), sum(ranks))  # block diagonal
        row = column = 0
        for pair, rows, rank in zip(parts, self._parts, ranks, strict=True):
            if pair:
                up[row : row + rows, column : column + rank] = pair[1]
            row, column = row + rows, column + rank
        self._adapters[slot] = (product(down, None), product(up, None))

    def drop(self, slot: int) -> None:
        self._adapters.pop(slot, None)

    def __call__(self, x: Tensor, lora: LoraRows | None) -> Tensor:
        """(n, in) → (n, out)"""
        out = self._base(x)
        for slot, rows in lora.groups if lora else ():
            if (pair := self._adapters.get(slot)) is None:
                continue
            down, up = pair
            if rows is None:
                out += up(down(x))
            else:
                out.index_add_(0, rows, up(down(x.index_select(0, rows))))
        return out
