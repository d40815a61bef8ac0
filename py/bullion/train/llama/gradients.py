"""Between the flat adapter and the blocks: gradients out of them, weights into them.

dA = dtᵀ·x and dB = scale·dyᵀ·t are tall and thin: reading x and dy costs more than the arithmetic.
`AdapterProducts` makes one product for each adapter, anywhere; `AdapterTiles` lists all the work of a
block once and does it in three launches, on CUDA. Neither owns activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bullion.train.llama.flat import FlatAdapter
from bullion.train.llama.linear import Dropout, FusedLinear, LinearGroup

TILED_RANK = 64  # of a group; above it the products are wide enough for the library


@dataclass(frozen=True)
class Product:
    """One group after its backward: x: (T, K), t: (T, R), dy: (T, N+R) with dt at the end."""

    group: LinearGroup
    x: Tensor
    t: Tensor
    dy: Tensor


class Adapters(Protocol):
    """The adapters of all blocks, as the blocks need them."""

    def refresh(self, groups: Sequence[LinearGroup]) -> None:
        """Copy the adapters of one block's groups into their buffers, B scaled."""
        ...

    def add(self, first: Product, second: Product, drop: Dropout | None) -> None:
        """Add the gradients of two groups of one block to the flat buffer."""
        ...


class AdapterProducts:
    def __init__(self, flat: FlatAdapter) -> None:
        self._flat = flat

    def refresh(self, groups: Sequence[LinearGroup]) -> None:
        for group in groups:
            for slot in group.slots:
                group.a[:, slot.columns].copy_(slot.a.t())
                rows = group.b[slot.row : slot.row + slot.rows, slot.columns]
                torch.mul(slot.b, slot.scale, out=rows)

    def add(self, first: Product, second: Product, drop: Dropout | None) -> None:
        for p in (first, second):
            group = p.group
            for slot in group.slots:
                dt = p.dy[:, group.outputs :][:, slot.columns]
                x = p.x if drop is None else drop.apply(p.x, group, slot)
                _add_product(self._flat.gradient(slot.a), dt.t(), x, 1.0)
                dy = p.dy[:, slot.row : slot.row + slot.rows]
                t = p.t[:, slot.columns]
                _add_product(self._flat.gradient(slot.b), dy.t(), t, slot.scale)


class AdapterTiles:
    """Needs `device` to run Triton and fp32 adapters of small rank; see `fits`."""

    def __init__(self, flat: FlatAdapter, device: torch.device) -> None:
        self._flat, self._device = flat, device
        self._products = AdapterProducts(flat)
        self._gradient_tiles: dict[LinearGroup, tuple[Tensor, Tensor, bool]] = {}
        self._copy_tiles: dict[LinearGroup, tuple[Tensor, Tensor]] = {}

    @staticmethod
    def fits(groups: Sequence[LinearGroup]) -> bool:
        return all(group.used <= TILED_RANK for group in groups)

    def refresh(self, groups: Sequence[LinearGroup]) -> None:
        from bullion.train.llama.adapter_kernels import copy_adapters

        buffers = [group.buffer for group in groups if isinstance(group, FusedLinear)]
        if len(buffers) < len(groups):  # A and B lie apart
            self._products.refresh(groups)
            return
        if groups[0] not in self._copy_tiles:
            self._copy_tiles[groups[0]] = self._list_copies(groups)
        tiles, scales = self._copy_tiles[groups[0]]
        if len(tiles):
            copy_adapters(self._flat.weights, buffers, tiles, scales)

    def add(self, first: Product, second: Product, drop: Dropout | None) -> None:
        from bullion.train.llama.adapter_kernels import add_gradients

        if drop is not None:  # the masks make another x for each adapter
            self._products.add(first, second, drop)
            return
        if first.group not in self._gradient_tiles:
            self._gradient_tiles[first.group] = self._list_gradients(first.group, second.group)
        tiles, scales, aligned = self._gradient_tiles[first.group]
        if len(tiles):
            rank = max(first.group.used, second.group.used)
            add_gradients(
                (first.x, first.t, first.dy),
                (second.x, second.t, second.dy),
                tiles,
                scales,
                rank,
                self._flat.gradients,
                aligned,
            )

    def _list_gradients(
        self, first: LinearGroup, second: LinearGroup
    ) -> tuple[Tensor, Tensor, bool]:
        from bullion.train.llama.adapter_kernels import GRADIENT_COLUMNS as WIDTH

        tiles: list[list[int]] = []
        scales: list[float] = []
        for side, group in enumerate((first, second)):
            if not group.slots:
                continue
            offset = self._flat.offsets[group.slots[0].a]  # the other A follow it
            for column in range(0, group.inputs, WIDTH):
                columns = min(WIDTH, group.inputs - column)
                place = [offset + column, group.inputs, 1]
                tiles.append([side, column, columns, group.outputs, group.used, *place])
                scales.append(1.0)
            for slot in group.slots:
                offset = self._flat.offsets[slot.b]
                for row in range(0, slot.rows, WIDTH):
                    columns = min(WIDTH, slot.rows - row)
                    place = [offset + row * slot.rank, 1, slot.rank]
                    tiles.append(
                        [2 + side, slot.row + row, columns, slot.column, slot.rank, *place]
                    )
                    scales.append(slot.scale)
        aligned = all(t[1] % 16 == t[2] % 16 == t[3] % 8 == t[4] % 8 == 0 for t in tiles)
        return *self._on_device(tiles, scales), aligned

    def _list_copies(self, groups: Sequence[LinearGroup]) -> tuple[Tensor, Tensor]:
        from bullion.train.llama.adapter_kernels import COPY_COLUMNS, COPY_ROWS

        tiles: list[list[int]] = []
        scales: list[float] = []
        for index, group in enumerate(groups):
            for slot in group.slots:
                a, b = self._flat.offsets[slot.a], self._flat.offsets[slot.b]
                for offset, rows, columns, to_row, to_column, scale in (
                    (a, slot.rank, group.inputs, group.outputs + slot.column, 0, 1.0),
                    (b, slot.rows, slot.rank, slot.row, group.inputs + slot.column, slot.scale),
                ):
                    for row in range(0, rows, COPY_ROWS):
                        for column in range(0, columns, COPY_COLUMNS):
                            start = offset + row * columns + column
                            size = [min(COPY_ROWS, rows - row), min(COPY_COLUMNS, columns - column)]
                            corner = [to_row + row, to_column + column]
                            tiles.append([index, start, columns, *corner, *size, 0])
                            scales.append(scale)
        return self._on_device(tiles, scales)

    def _on_device(self, tiles: list[list[int]], scales: list[float]) -> tuple[Tensor, Tensor]:
        table = torch.tensor(tiles, dtype=torch.int64).view(-1, 8)
        return table.to(self._device), torch.tensor(scales).to(self._device)


def _add_product(out: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    if left.dtype == out.dtype:
        out.addmm_(left, right, alpha=scale)
    else:  # narrow factors, summed in fp32
        out.add_(torch.mm(left, right, out_dtype=out.dtype), alpha=scale)
