"""Which tensor goes into which file: order, sizes, names. Holds no data.

The order is the model's own (embedding, layers, norm, head), whatever the order of the base's
files; the split is Hugging Face's, so that files come out with the sizes users know.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from bullion.models.tensors import INDEX, TensorFolder, tensor_bytes

LEAST_ROWS = 64  # of a run of `slices`, but for a factor of two
Shape = tuple[torch.dtype, tuple[int, ...]]


@dataclass(frozen=True)
class Shard:
    """One file to write: name, and its tensors in order."""

    name: str
    tensors: dict[str, Shape]

    @property
    def nbytes(self) -> int:
        """Bytes of tensor data, header left out."""
        return sum(tensor_bytes(shape, dtype) for dtype, shape in self.tensors.values())


def ordered_shapes(
    base: TensorFolder, model_order: list[str], dtype: torch.dtype | None
) -> dict[str, Shape]:
    """The base's tensors in the model's order, floating ones as `dtype` (None: as they are)."""
    place = {name: i for i, name in enumerate(model_order)}
    shapes: dict[str, Shape] = {}
    for name in sorted(base.slots, key=lambda name: place.get(name, len(place))):
        slot = base.slots[name]
        cast = dtype if dtype is not None and slot.dtype.is_floating_point else slot.dtype
        shapes[name] = (cast, slot.shape)
    return shapes


def plan_shards(shapes: dict[str, Shape], limit: int) -> list[Shard]:
    """Shards of at most `limit` bytes of data; 10^9 bytes are a gigabyte."""
    groups = split({name: tensor_bytes(s, d) for name, (d, s) in shapes.items()}, limit)
    return [
        Shard(_file_name(i, len(groups)), {name: shapes[name] for name in group})
        for i, group in enumerate(groups)
    ]


def split(sizes: dict[str, int], limit: int) -> list[list[str]]:
    """Fill one shard after the other in order; a tensor above `limit` gets a shard of its own."""
    groups: list[list[str]] = []
    group: list[str] = []
    filled = 0
    for name, size in sizes.items():
        if size > limit:
            groups.append([name])
            continue
        if filled + size > limit:
            groups.append(group)
            group, filled = [], 0
        group.append(name)
        filled += size
    return [*groups, group] if group else groups


def slices(shape: tuple[int, ...], elements: int, within: slice | None = None) -> list[slice]:
    """Rows of a tensor of `shape`, or of a slice of it, in even runs of about `elements` elements.

    A run never gets so few rows that a product takes another path and rounds otherwise: under four
    do so (measured for ranks 2 to 512).
    """
    count = shape[0] if shape else 1
    start, stop = (0, count) if within is None else (within.start, within.stop)
    most = max(LEAST_ROWS, elements // max(1, math.prod(shape[1:])))
    runs = math.ceil((stop - start) / most)
    bounds = [start + i * (stop - start) // runs for i in range(runs)] + [stop]
    return [slice(low, high) for low, high in pairwise(bounds)]


def write_index(folder: Path, shards: list[Shard]) -> None:
    """model.safetensors.index.json, where there is more than one shard."""
    if len(shards) < 2:
        return
    index = {
        "metadata": {"total_size": sum(shard.nbytes for shard in shards)},
        "weight_map": {name: shard.name for shard in shards for name in shard.tensors},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _file_name(position: int, count: int) -> str:
    if count == 1:
        return "model.safetensors"
    return f"model-{position + 1:05d}-of-{count:05d}.safetensors"
