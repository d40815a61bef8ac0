"""What a device runs the step with: its kernels, its attention, the padding it likes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import ModuleType

import torch

from bullion.train.llama import eager
from bullion.train.llama.attention import AttentionOver, ByRecord, Tiles, VariableLength
from bullion.train.llama.linear import ThinProduct


@dataclass(frozen=True)
class Means:
    """`operations`: the module eager, or kernels. `spare`: rows of weights get a multiple of it as
    spare columns: 128 bytes on CUDA, where products are slower on rows that start elsewhere."""

    operations: ModuleType
    attention: AttentionOver
    spare: int
    thin: ThinProduct | None
    tiled_adapters: bool  # gradients.AdapterTiles instead of AdapterProducts

    @classmethod
    def of(cls, device: torch.device, head_dim: int) -> Means:
        if device.type != "cuda":
            return cls(eager, ByRecord, 1, None, False)
        from bullion.train.llama import adapter_kernels, kernels

        attention: AttentionOver = Tiles
        if not Tiles.fits(head_dim):
            attention = partial(VariableLength, operations=kernels)
        return cls(kernels, attention, 64, adapter_kernels.Narrow(device), True)
