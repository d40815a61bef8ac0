"""A fused layer on the GPU with room for adapters below its rows.

The A matrices of all adapters lie in spare rows under the base's weight, so one product gives a
row's output and, in the columns behind it, its low-rank parts; the next kernel widens them
(kernels.py). An adapter so costs its bytes and no launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bullion.engine import skinny
from bullion.engine.chain import hopper
from bullion.engine.tilings import Tiling, tiling

_ALIGNED = 16  # rows: kernels are compiled once for widths that are multiples of it


@dataclass(frozen=True)
class Room:
    """Flat scratch memory for the products of one kind of layer."""

    whole: Tensor  # in the weights' dtype
    parts: Tensor  # fp32, for products that share their depth out


class WideSite:
    """Base rows, then for each slot and part `rank` rows of A. `parts` are the base's row counts."""

    def __init__(self, weight: Tensor, bias: Tensor | None, parts: Sequence[int]) -> None:
        self.out = weight.shape[0]
        self.weight = weight  # (out + slots · parts · rank and a few, in)
        self.bias = bias  # as long as weight
        self.b: Tensor | None = None  # (slots, out, rank)
        self._parts = parts
        self._slots = self._rank = 0

    def width(self, adapters: bool) -> int:
        return self.weight.shape[0] if adapters else self.out

    def reserve(self, slots: int, rank: int) -> None:
        """Makes room; what lies in it already moves along. The old weight is let go."""
        old_slots, old_rank, kept = self._slots, self._rank, self._low()
        spare = -(-slots * len(self._parts) * rank // _ALIGNED) * _ALIGNED
        shape = (self.out + spare, self.weight.shape[1])
        weight = self.weight.new_zeros(shape)
        weight[: self.out] = self.weight[: self.out]
        b = self.weight.new_zeros(slots, self.out, rank)
        if self.b is not None:
            b[:old_slots, :, :old_rank] = self.b
        if self.bias is not None:
            bias = self.bias.new_zeros(shape[0])
            bias[: self.out] = self.bias[: self.out]
            self.bias = bias
        self.weight, self.b, self._slots, self._rank = weight, b, slots, rank
        self._low()[:old_slots, :, :old_rank] = kept

    def _low(self) -> Tensor:
        """The A matrices (slots, parts, rank, in), a view."""
        rows = self._slots * len(self._parts) * self._rank
        low = self.weight[self.out : self.out + rows]
        return low.view(self._slots, len(self._parts), self._rank, self.weight.shape[1])

    def put(self, slot: int, parts: Sequence[tuple[Tensor, Tensor] | None]) -> None:
        """A (r, in) and B (rows, r) of each part, the scale inside B; `reserve` comes before."""
        assert self.b is not None
        a = self._low()[slot]
        b = self.b[slot]
        a.zero_()
        b.zero_()
        start = 0
        for part, (pair, rows) in enumerate(zip(parts, self._parts, strict=True)):
            if pair is not None:
                rank = pair[0].shape[0]
                a[part, :rank].copy_(pair[0])
                b[start : start + rows, :rank].copy_(pair[1])
            start += rows

    def drop(self, slot: int) -> None:
        """Leaves nothing behind for an adapter that has no part here."""
        if self.b is not None:
            self.b[slot].zero_()

    def product(self, x: Tensor, room: Room, adapters: bool, whole: bool = False) -> Tensor:
        """x (n, in) → parts (splits, n, out, and the low columns with `adapters`), a view of `room`;
        their sum is the product. `whole`: there is one part."""
        n, inside = x.shape
        width = self.width(adapters)
        weight = self.weight[:width]
        if cut := self._tiling(n, width):
            cut = replace(cut, splits=1) if whole else cut
            source = room.parts if cut.splits > 1 else room.whole
            parts = source[: cut.splits * n * width].view(cut.splits, n, width)
            skinny.product(x, weight, parts, cut)
            return parts
        out = room.whole[: n * width].view(n, width)
        if self.bias is not None:
            torch.addmm(self.bias[:width], x, weight.t(), out=out)
        elif n == 1 and (tile := skinny.matvec_tile(width, inside)):
            skinny.matvec(x, weight, out, tile)
        else:
            torch.mm(x, weight.t(), out=out)
        return out.unsqueeze(0)

    def opened(self, x: Tensor, out: Tensor) -> bool:
        """out (n, out / 2) = SiLU of the first half · the second half, without adapters, where one
        kernel does both; else False, and nothing is done."""
        n, inside = x.shape
        width = out.shape[1]
        if self.bias is not None or not hopper(x.device):
            return False
        if n == 1 and (tile := skinny.matvec_tile(width, inside, gated=True)):
            skinny.matvec(x, self.weight, out, tile, gated=True)
            return True
        if cut := tiling(width, inside, n, gated=True):
            skinny.product(x, self.weight, out.unsqueeze(0), cut, gated=True)
            return True
        return False

    def _tiling(self, n: int, width: int) -> Tiling | None:
        if self.bias is not None or not hopper(self.weight.device):
            return None
        return tiling(width, self.weight.shape[1], n)
