"""A forward pass that holds one layer at a time, read from safetensors, computed in fp32.

For proofs, not for serving: 8 B parameters pass through about 3 GB. Adapters stay unmerged: they
are added to the outputs of their layers, as in training. It compares nothing.

Legend: P = prompts, T = tokens of the longest, N = tokens of all without padding, H = hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from bullion.contract.errors import Refusal
from bullion.export.changes import Changes, part, unmerged
from bullion.export.feed import Feed, Want
from bullion.export.shards import slices
from bullion.models.adapter import LoraPair
from bullion.models.tensors import TensorFolder

CHUNK = 16384  # vocabulary entries at a time
EMBEDDING = "model.embed_tokens.weight"


def skeleton(folder: Path, trust_remote_code: bool = False) -> PreTrainedModel:
    """The model of `folder`'s config.json without any weights (meta device).

    Raises Refusal unsupported_model for what is no decoder of embedding, layers, norm and head.
    """
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                config,
                dtype=torch.float32,
                attn_implementation="sdpa",
                trust_remote_code=trust_remote_code,
            )
        for part in ("embed_tokens", "layers", "norm", "rotary_emb"):
            model.model.get_submodule(part)
        model.get_submodule("lm_head")
    except (AttributeError, KeyError, ValueError) as raised:
        raise Refusal(
            "unsupported_model",
            f"Cannot export {folder}: models built like Llama are known ({raised})",
            "model",
        ) from raised
    return model.eval()


@dataclass(frozen=True)
class View:
    """A model as it is looked at: the tensors of a folder, with or without unmerged adapters."""

    tensors: TensorFolder
    changes: Changes


class StreamedModels:
    """Views of one architecture that walk together: each folder's layers are read once."""

    def __init__(self, model: PreTrainedModel, views: dict[str, View], feed: Feed) -> None:
        self._model, self._views, self._feed = model, views, feed
        self._device = feed.device
        self._folders = list({id(view.tensors): view.tensors for view in views.values()}.values())
        rotary = model.model.rotary_emb
        with torch.device("cpu"):
            self._rotary = type(rotary)(config=model.config).to(self._device)
        slots = self._folders[0].slots
        self._head = "lm_head.weight" if "lm_head.weight" in slots else EMBEDDING
        self.layers = len(model.model.layers)
        self.vocabulary = slots[self._head].shape[0]

    @torch.no_grad()
    def states(self, prompts: list[list[int]]) -> Iterator[dict[str, torch.Tensor]]:
        """Yields each view's states after every layer, and at last those the head reads: (N, H).

        Prompts are one padded batch: behind a causal mask no token sees the padding after it.
        """
        longest = max(len(ids) for ids in prompts)
        true = torch.tensor([[t < len(ids) for t in range(longest)] for ids in prompts])  # (P, T)
        true = true.to(self._device)
        hidden = {name: self._embed(view, prompts, longest) for name, view in self._views.items()}
        positions = torch.arange(longest, device=self._device).expand(len(prompts), longest)
        angles = self._rotary(next(iter(hidden.values())), positions)
        given = {"position_ids": positions, "position_embeddings": angles, "attention_mask": None}
        modules = [(f"model.layers.{i}", m) for i, m in enumerate(self._model.model.layers)]
        modules.append(("model.norm", self._model.model.norm))
        groups = [
            [
                Want(folder, f"{prefix}.{name}")
                for folder in self._folders
                for name in _names(module)
            ]
            for prefix, module in modules
        ]
        tensors = self._feed.each(groups)
        for prefix, module in modules:
            read = next(tensors)
            for folder in self._folders:
                found = {name: read.pop(0).float() for name in _names(module)}
                for view_name, view in self._views.items():
                    if view.tensors is folder:
                        arguments = given if module is not self._model.model.norm else {}
                        x = hidden[view_name]
                        hidden[view_name] = _run(module, prefix, found, view.changes, x, arguments)
            yield {name: x[true] for name, x in hidden.items()}

    @torch.no_grad()
    def logits(self, states: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
        """Each view's logits for its `states` (N, H), CHUNK vocabulary entries at a time."""
        chunks = slices((self.vocabulary,), CHUNK)
        dtypes = {folder.slots[self._head].dtype for folder in self._folders}
        adapted = any(self._head in view.changes for view in self._views.values())
        # Where no adapter changes the head its weights have proved that all views share it.
        shared = len(dtypes) == 1 and not adapted
        folders = self._folders[:1] if shared else self._folders
        wants = [[Want(folder, self._head, rows) for folder in folders] for rows in chunks]
        for rows, read in zip(chunks, self._feed.each(wants), strict=True):
            found: dict[str, torch.Tensor] = {}
            for folder, tensor in zip(folders, read, strict=True):
                weight = tensor.float()
                for name, view in self._views.items():
                    if shared or view.tensors is folder:
                        changes = part(view.changes.get(self._head, []), rows)
                        whole, pairs = unmerged(weight, changes)
                        x = states[name]
                        found[name] = add_pairs(functional.linear(x, whole), x, whole, pairs)
            yield {name: found[name] for name in self._views}

    def _embed(self, view: View, prompts: list[list[int]], longest: int) -> torch.Tensor:
        """(P, T, H)"""
        rows = {
            i: view.tensors.read_rows(EMBEDDING, i, i + 1)[0]
            for i in {i for ids in prompts for i in ids}
        }
        for change in view.changes.get(EMBEDDING, []):
            if isinstance(change, torch.Tensor):
                rows = {i: change[i] for i in rows}
        padding = torch.zeros_like(next(iter(rows.values())))
        padded = [[rows[i] for i in ids] + [padding] * (longest - len(ids)) for ids in prompts]
        stacked = torch.stack([torch.stack(one) for one in padded])
        return stacked.to(self._device, torch.float32)


def _names(module: nn.Module) -> list[str]:
    return list(module.state_dict())


def _run(
    module: nn.Module,
    prefix: str,
    tensors: dict[str, torch.Tensor],
    changes: Changes,
    x: torch.Tensor,
    arguments: dict[str, Any],
) -> torch.Tensor:
    """What `module` gives for `x` with these tensors, adapters added to its linear layers."""
    weights: dict[str, torch.Tensor] = {}
    hooks = []
    for name, tensor in tensors.items():
        weights[name], pairs = unmerged(tensor, changes.get(f"{prefix}.{name}", []))
        if pairs:
            hooks.append(_add_pairs(module.get_submodule(name.removesuffix(".weight")), pairs))
    out = functional_call(module, weights, (x,), arguments)
    for hook in hooks:
        hook.remove()
    return out[0] if isinstance(out, tuple) else out


def add_pairs(
    out: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, pairs: list[LoraPair]
) -> torch.Tensor:
    """What a linear layer gives with its adapters beside it: out + Σ s·B A x; DoRA rescales."""
    whole = weight  # as it would be with the adapters so far merged; only DoRA asks for it
    doubled = any(pair.magnitude is not None for pair in pairs)
    for pair in pairs:
        a, b = pair.a.to(x), pair.b.to(x)
        out = out + pair.scale * functional.linear(functional.linear(x, a), b)
        if doubled:
            whole = whole + pair.scale * (b @ a)
        if pair.magnitude is not None:
            factor = pair.magnitude.to(x) / torch.linalg.vector_norm(whole, dim=1)
            out, whole = out * factor, whole * factor.unsqueeze(1)
    return out


def _add_pairs(module: nn.Module, pairs: list[LoraPair]) -> Any:
    def hook(layer: Any, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        bias = 0 if layer.bias is None else layer.bias
        return add_pairs(out - bias, args[0], layer.weight, pairs) + bias

    register: Callable[[Any], Any] = module.register_forward_hook
    return register(hook)
