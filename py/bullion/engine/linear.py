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
_SMALL = 4_000_000  # weights of a layer


@dataclass(frozen=True)
class LoraRows:
    """Which adapter slot works on which rows of a batch; None for the rows: all of them."""

    groups: list[tuple[int, Tensor | None]]


def product(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """x ↦ x Wᵀ + b on the CPU, for rows x (n, in) of any n, each row by itself to the last bit.

    From four rows on, BLAS and oneDNN sum every row in the same order whatever n is (a test looks);
    below, some machines choose another kernel for some layers. A small layer is tried out, and fewer
    rows are padded where one shows; a large one waits for its memory either way and is padded.
    oneDNN with weights packed for it is 2 to 3 times faster than BLAS at a handful of rows.
    """
    if torch.backends.mkldnn.is_available() and weight.dtype == torch.float32:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 8)
        linear = torch.ops.mkldnn._linear_pointwise.default

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

    if weight.numel() <= _SMALL and _same_for_few_rows(multiply, weight.shape[1]):
        return multiply
    return padded


@torch.inference_mode()
def _same_for_few_rows(multiply: Callable[[Tensor], Tensor], size: int) -> bool:
    """Whether rows alone, in twos and threes come out as they do among four. Orders of summing that
    differ show in random numbers: there are hundreds of outputs."""
    rows = torch.randn(12, size, generator=torch.Generator().manual_seed(0))
    expected = torch.cat([multiply(four) for four in rows.split(4)])
    return all(
        torch.equal(torch.cat([multiply(few) for few in rows.split(n)]), expected)
        for n in range(1, FEWEST_ROWS)
    )


class Site:
    """One fused layer and what adapters add to it. `parts` are the row counts that it joins.

    `columns` (in,) multiplies the input, `order` (out,) says which row of the layer is the output's
    i-th; weights and adapters are given as the model has them.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        parts: Sequence[int],
        columns: Tensor | None = None,
        order: Tensor | None = None,
    ) -> None:
        self._parts, self._columns, self._order = parts, columns, order
        bias = bias if bias is None or order is None else bias[order]
        self._base = product(self._ordered(self._scaled(weight)), bias)
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
        down, up = self._scaled(down), self._ordered(up)
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

    def _scaled(self, weight: Tensor) -> Tensor:
        return weight if self._columns is None else weight * self._columns

    def _ordered(self, weight: Tensor) -> Tensor:
        return weight if self._order is None else weight[self._order]
