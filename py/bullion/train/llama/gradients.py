"""The gradients of the adapters: dA = dtᵀ·x and dB = scale·dyᵀ·t, added to the flat buffer.

Both are tall and thin: reading x and dy costs more than the arithmetic. The general way is one product
for each adapter. It owns no activations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bullion.train.llama.flat import FlatAdapter
from bullion.train.llama.linear import Dropout, FusedLinear


@dataclass(frozen=True)
class Product:
    """One group after its backward: x: (T, K), t: (T, R), dy: (T, N+R) with dt at the end."""

    group: FusedLinear
    x: Tensor
    t: Tensor
    dy: Tensor


class AdapterGradients:
    """Adds into `flat`, whose views are what PEFT's parameters carry as `.grad`."""

    def __init__(self, flat: FlatAdapter) -> None:
        self._flat = flat

    def add(self, products: tuple[Product, ...], drop: Dropout | None = None) -> None:
        for p in products:
            group = p.group
            for slot in group.slots:
                dt = p.dy[:, group.outputs :][:, slot.columns]
                x = p.x if drop is None else drop.apply(p.x, group, slot)
                _add_product(self._flat.gradient(slot.a), dt.t(), x, 1.0)
                dy = p.dy[:, slot.row : slot.row + slot.rows]
                t = p.t[:, slot.columns]
                _add_product(self._flat.gradient(slot.b), dy.t(), t, slot.scale)


def _add_product(out: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    if left.dtype == out.dtype:
        out.addmm_(left, right, alpha=scale)
    else:  # narrow factors, summed in fp32
        out.add_(torch.mm(left, right, out_dtype=out.dtype), alpha=scale)
