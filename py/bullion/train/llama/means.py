"""What a device runs the step with: its kernels, its attention, the padding it likes."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import torch

from bullion.train.llama import eager
from bullion.train.llama.attention import AttentionOver, ByRecord, Tiles


@dataclass(frozen=True)
class Means:
    """`operations`: the module eager, or kernels. `spare`: rows of weights get a multiple of it as
    spare columns: 128 bytes on CUDA, where products are slower on rows that start elsewhere."""

    operations: ModuleType
    attention: AttentionOver
    spare: int
    tiled_adapters: bool  # gradients.AdapterTiles instead of AdapterProducts

    @classmethod
    def of(cls, device: torch.device) -> Means:
        if device.type != "cuda":
            return cls(eager, ByRecord, 1, False)
        from bullion.train.llama import kernels

        return cls(kernels, Tiles, 64, True)
