"""What a stack of adapters does to each tensor of a base: a list of changes by tensor name.

Several adapters are merged one after the other, rounded in between, as LLaMA-Factory does. It
reads adapters and checks that they fit; it writes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Union

import torch

from bullion.contract.errors import Refusal
from bullion.models.adapter import LoraPair, merged_weight, read_adapter
from bullion.models.tensors import TensorFolder

Change = Union[LoraPair, torch.Tensor]
"""A low-rank addition, or a whole tensor in the place of the old one (additional_target)."""
Changes = dict[str, list[Change]]

HEADS = ("model.embed_tokens.weight", "lm_head.weight")


def read_changes(adapters: list[Path], base: TensorFolder, tied: bool) -> Changes:
    """Tensor name → its changes in order. Raises Refusal when an adapter does not fit the base."""
    changes: Changes = {}
    for folder in adapters:
        adapter = read_adapter(folder)
        for module, pair in adapter.pairs.items():
            name = f"{module}.weight"
            _check(folder, name, base, (pair.b.shape[0], pair.a.shape[1]), tied)
            changes.setdefault(name, []).append(pair)
        for name, tensor in adapter.replaced.items():
            _check(folder, name, base, tuple(tensor.shape), tied)
            changes[name] = [tensor]
    return changes


def apply_changes(weight: torch.Tensor, changes: list[Change]) -> torch.Tensor:
    """The merged weight in `weight`'s dtype, rounded after every change."""
    for change in changes:
        if isinstance(change, torch.Tensor):
            weight = change.to(weight.device, weight.dtype)
        else:
            weight = merged_weight(weight, change)
    return weight


def part(changes: list[Change], rows: slice) -> list[Change]:
    """What `changes` do to some rows of their tensor."""
    return [_rows(c, rows) if isinstance(c, LoraPair) else c[rows] for c in changes]


def unmerged(weight: torch.Tensor, changes: list[Change]) -> tuple[torch.Tensor, list[LoraPair]]:
    """The weight an unmerged model would hold, and the pairs that it would add while running."""
    pairs: list[LoraPair] = []
    for change in changes:
        if isinstance(change, torch.Tensor):
            weight, pairs = change.to(weight.device, weight.dtype), []
        else:
            pairs.append(change)
    return weight, pairs


def _rows(pair: LoraPair, rows: slice) -> LoraPair:
    magnitude = None if pair.magnitude is None else pair.magnitude[rows]
    return LoraPair(pair.a, pair.b[rows], pair.scale, magnitude)


def _check(folder: Path, name: str, base: TensorFolder, shape: tuple[int, ...], tied: bool) -> None:
    slot = base.slots.get(name)
    if slot is None or slot.shape != shape:
        held = "has no such tensor" if slot is None else f"holds {slot.shape}"
        raise Refusal(
            "adapter_mismatch",
            f"Cannot merge {folder}: it changes {name} {shape} and the base {held}. "
            "Was it trained on another base?",
            "adapter_name_or_path",
        )
    if tied and name in HEADS:
        raise Refusal(
            "unsupported_adapter",
            f"Cannot merge {folder}: it changes {name}, which this base uses twice (embedding and "
            "output head are tied)",
            "adapter_name_or_path",
        )
