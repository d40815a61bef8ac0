"""A fused linear layer of the base on the CPU, with any number of adapters over it.

It owns which rows an adapter works on and where its parts lie. How a product is computed, products.py
knows; what an adapter is, adapters.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bullion.engine.products import product, thin_products


@dataclass(frozen=True)
class LoraRows:
    """Which adapter slot works on which rows of a batch; None for the rows: all of them."""

    groups: list[tuple[int, Tensor | None]]


class Site:
    """One fused layer and what adapters add to it. `parts` are the row counts that it joins.

    `order` (out,) says which row of the layer is the output's i-th; weights and adapters are given as
    the model has them.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        parts: Sequence[int],
        order: Tensor | None = None,
    ) -> None:
        self._parts, self._order = parts, order
        bias = bias if bias is None or order is None else bias[order]
        self._base = product(self._ordered(weight), bias)
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
        self._adapters[slot] = thin_products(down, self._ordered(up))

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

    def _ordered(self, weight: Tensor) -> Tensor:
        return weight if self._order is None else weight[self._order]
