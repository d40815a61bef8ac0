"""Frozen linear layers that share their input as one matrix product, LoRA beside it or inside it.

`LinearGroup` is what a block needs of them. The buffer of a `FusedLinear` holds the frozen weights W with the adapters at its edges:

            in        rank
    out  [  W      |  scale·B  ]     y  = [x | t ] · [W | B]ᵀ   with t  = x · Aᵀ
    rank [  A      |     –     ]     dx = [dy| dt] · [W ; A]    with dt = dy · B

so the adapters cost no second pass over y or dx. It owns the buffer; the weights of the modules
become views of it. The other way to compute a group is fp8.py's.

Legend: T tokens; K in-features, N out-features of the group; R padded sum of ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter


@dataclass(frozen=True)
class Slot:
    """One adapted layer of a group: rows [row, row+rows) of W, columns [column, column+rank) of t."""

    a: Parameter  # (rank, K)
    b: Parameter  # (rows, rank)
    scale: float
    dropout: float
    row: int
    rows: int
    column: int
    rank: int

    @property
    def columns(self) -> slice:
        return slice(self.column, self.column + self.rank)


def adapter_of(module: Any) -> tuple[Parameter, Parameter, float, float] | None:
    """A, B, scale and dropout of the active adapter that PEFT put around a linear layer."""
    if not hasattr(module, "lora_A"):
        return None
    (name,) = module.active_adapters
    dropout = float(getattr(module.lora_dropout[name], "p", 0.0))
    scale = float(module.scaling[name])
    return module.lora_A[name].weight, module.lora_B[name].weight, scale, dropout


def group_parameters(modules: Sequence[Any]) -> list[Parameter]:
    """The adapters of a group in the order FlatAdapter lays them: all A, then all B."""
    pairs = [found for module in modules if (found := adapter_of(module)) is not None]
    return [a for a, _, _, _ in pairs] + [b for _, b, _, _ in pairs]


class LinearGroup(ABC):
    """What every way of computing a group shares: its sizes, its adapters and their narrow products.

    R is a multiple of `spare`, so that rows start where the device likes it. A subclass owns the frozen
    weights and makes room for `a` and `b`, which `Adapters.refresh` fills.
    """

    a: Tensor  # (K, R), all A side by side
    b: Tensor  # (N, R), the B scaled, block by block

    def __init__(self, modules: Sequence[Any], spare: int = 1) -> None:
        self.weights: list[Parameter] = [getattr(m, "base_layer", m).weight for m in modules]
        found = [adapter_of(m) for m in modules]
        self.inputs = self.weights[0].shape[1]  # K
        self.outputs = sum(w.shape[0] for w in self.weights)  # N
        self.used = sum(f[0].shape[0] for f in found if f is not None)
        self.rank = -(-self.used // spare) * spare  # R
        self.slots: list[Slot] = []
        row = column = 0
        for weight, adapter in zip(self.weights, found, strict=True):
            rows = weight.shape[0]
            if adapter is not None:
                slot = Slot(*adapter, row=row, rows=rows, column=column, rank=adapter[0].shape[0])
                self.slots.append(slot)
                column += slot.rank
            row += rows

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor, drop: Dropout | None = None) -> None:
        """x: (T, K+R), its first K columns filled; fills the others with t, and y: (T, N)."""

    @abstractmethod
    def forward_apart(self, x: Tensor, t: Tensor, y: Tensor, drop: Dropout | None = None) -> None:
        """The same for an x: (T, K) without spare columns; fills t: (T, R) and y: (T, N)."""

    @abstractmethod
    def backward(self, dy: Tensor, dx: Tensor | None, drop: Dropout | None = None) -> None:
        """dy: (T, N+R), its first N columns filled; fills the others with dt, and dx: (T, K)."""

    def narrow(self, x: Tensor, t: Tensor, drop: Dropout | None = None) -> None:
        """x: (T, K) → fills t: (T, R) with x · Aᵀ; of a group that has adapters."""
        if drop is None:
            torch.mm(x, self.a[:, : self.used], out=t[:, : self.used])
            return
        for slot in self.slots:
            kept = drop.apply(x, self, slot)
            torch.mm(kept, self.a[:, slot.columns], out=t[:, slot.columns])

    def narrow_back(self, dy: Tensor) -> None:
        """dy: (T, N+R), its first N columns filled; fills the others with dt = dy · B."""
        if self.used:
            dt = dy[:, self.outputs : self.outputs + self.used]
            torch.mm(dy[:, : self.outputs], self.b[:, : self.used], out=dt)

    def add_dropped(self, dy: Tensor, dx: Tensor, drop: Dropout) -> None:
        """dx: (T, K) += dt · A, each adapter's share under its mask."""
        for slot in self.slots:
            part = dy[:, self.outputs :][:, slot.columns] @ self.a[:, slot.columns].t()
            dx.add_(drop.apply(part, self, slot))


class FusedLinear(LinearGroup):
    """Takes the weights of `modules` over; the adapters ride in the frozen product."""

    def __init__(self, modules: Sequence[Any], spare: int = 1) -> None:
        super().__init__(modules, spare)
        size = self.outputs + self.rank, self.inputs + self.rank
        self.buffer = self.weights[0].new_zeros(size)
        row = 0
        for weight in self.weights:
            view = self.buffer[row : row + weight.shape[0], : self.inputs]
            view.copy_(weight.data)
            weight.data = view
            row += weight.shape[0]
        frozen, below = self.buffer[: self.outputs], self.buffer[self.outputs :]
        self._joined = frozen.t()  # (K+R, N)
        self._frozen = frozen[:, : self.inputs].t()  # (K, N)
        self._back = self.buffer[:, : self.inputs]  # (N+R, K)
        self.a = below[:, : self.inputs].t()
        self.b = frozen[:, self.inputs :]

    def forward(self, x: Tensor, y: Tensor, drop: Dropout | None = None) -> None:
        if self.used:
            self.narrow(x[:, : self.inputs], x[:, self.inputs :], drop)
        torch.mm(x, self._joined, out=y)

    def forward_apart(self, x: Tensor, t: Tensor, y: Tensor, drop: Dropout | None = None) -> None:
        torch.mm(x, self._frozen, out=y)
        if self.used:
            self.narrow(x, t, drop)
            y.addmm_(t[:, : self.used], self.b[:, : self.used].t())

    def backward(self, dy: Tensor, dx: Tensor | None, drop: Dropout | None = None) -> None:
        self.narrow_back(dy)
        if dx is None:
            return
        if drop is None:
            torch.mm(dy, self._back, out=dx)
            return
        torch.mm(dy[:, : self.outputs], self._back[: self.outputs], out=dx)
        self.add_dropped(dy, dx, drop)


class Dropout:
    """The masks of one pack, drawn again where they are needed instead of being kept.

    `seed` comes from torch's CPU generator, so that a resumed job draws what the first one drew.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._generator = torch.Generator(device=device)
        self.layer = 0

    def apply(self, x: Tensor, group: LinearGroup, slot: Slot) -> Tensor:
        """x: (T, K) times the mask of this slot in the current layer, over the share kept."""
        if slot.dropout == 0.0:
            return x
        place = f"{self._seed} {self.layer} {group.inputs} {group.outputs} {slot.column}"
        digest = blake2b(place.encode(), digest_size=7).digest()
        self._generator.manual_seed(int.from_bytes(digest, "little"))
        kept = 1.0 - slot.dropout
        mask = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        return mask.bernoulli_(kept, generator=self._generator).div_(kept).mul_(x)
