"""An adapter and a model that is in memory: whether they fit, and merging the one into the other.

For a training that starts over an older adapter; an export merges from file to file instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from bullion.contract.errors import Refusal
from bullion.models.adapter import Adapter, merged_weight, read_adapter


def merge_into(model: PreTrainedModel, folder: Path) -> None:
    """Merge the adapter of `folder` into the weights of a loaded, unquantised `model`."""
    adapter = read_adapter(folder)
    assert_fits(model, adapter, folder)
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    if getattr(model, "is_quantized", False):
        raise Refusal(
            "quantized_base",
            f"Cannot merge the adapter in {folder} into a quantised base: leave out "
            "quantization_bit or create_new_adapter",
            "create_new_adapter",
        )
    with torch.no_grad():
        for name, pair in adapter.pairs.items():
            weight = modules[name].weight
            weight.copy_(merged_weight(weight, pair))
        for name, tensor in adapter.replaced.items():
            parameters[name].copy_(tensor)


def assert_fits(model: PreTrainedModel, adapter: Adapter, folder: Path) -> None:
    """Refuse an adapter whose layers the model lacks or holds in another size."""
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name, pair in adapter.pairs.items():
        layer, wanted = modules.get(name), (pair.b.shape[0], pair.a.shape[1])
        size = (layer.out_features, layer.in_features) if isinstance(layer, nn.Linear) else None
        if size != wanted:
            raise _mismatch(folder, name, wanted, size)
    for name, tensor in adapter.replaced.items():
        held = tuple(parameters[name].shape) if name in parameters else None
        if held != tuple(tensor.shape):
            raise _mismatch(folder, name, tuple(tensor.shape), held)


def _mismatch(folder: Path, name: str, wanted: Any, held: Any) -> Refusal:
    return Refusal(
        "adapter_mismatch",
        f"Cannot use the adapter in {folder}: it changes {name} {wanted} and the base "
        + ("has no such layer" if held is None else f"holds {held}")
        + ". Was it trained on another base?",
        "adapter_name_or_path",
    )
