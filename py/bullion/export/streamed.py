"""A forward pass that holds one layer at a time, read from safetensors, computed in fp32.

For proofs, not for serving: 8 B parameters pass through about 3 GB. Adapters stay unmerged: they
are added to the outputs of their layers, as in training. It compares nothing.

Legend: T = tokens of a prompt, H = hidden size, N = tokens of all prompts, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from bullion.contract.errors import Refusal
from bullion.export.changes import Changes, unmerged
from bullion.models.adapter import LoraPair
from bullion.models.tensors import TensorFolder


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


class StreamedModel:
    """One model of a folder, base or merged, with or without unmerged `changes`."""

    def __init__(
        self,
        model: PreTrainedModel,
        tensors: TensorFolder,
        changes: Changes,
        device: torch.device,
    ) -> None:
        self._model, self._tensors, self._changes = model, tensors, changes
        self._device = device
        rotary = model.model.rotary_emb
        with torch.device("cpu"):
            self._rotary = type(rotary)(config=model.config).to(device)
        tied = "lm_head.weight" not in tensors.slots
        self._head = "model.embed_tokens.weight" if tied else "lm_head.weight"
        self.changes_head = self._head in changes
        self.head_dtype = tensors.slots[self._head].dtype
        self.layers = len(model.model.layers)
        self.vocabulary = tensors.slots[self._head].shape[0]

    @torch.no_grad()
    def states(self, prompts: list[list[int]]) -> Iterator[torch.Tensor]:
        """Yields the states after every layer, and at last those the head reads: (N, H)."""
        hidden = [self._embed(ids) for ids in prompts]  # each (1, T, H)
        positions = [torch.arange(len(ids), device=self._device)[None] for ids in prompts]
        angles = [self._rotary(h, p) for h, p in zip(hidden, positions, strict=True)]
        for i, layer in enumerate(self._model.model.layers):
            weights, pairs = self._weights(layer, f"model.layers.{i}")
            hooks = [_add_pairs(layer.get_submodule(name), pairs[name]) for name in pairs]
            for j, (ids, angle) in enumerate(zip(positions, angles, strict=True)):
                given = {"position_ids": ids, "position_embeddings": angle, "attention_mask": None}
                out = functional_call(layer, weights, (hidden[j],), given)
                hidden[j] = out[0] if isinstance(out, tuple) else out
            for hook in hooks:
                hook.remove()
            del weights  # before the next layer comes
            yield torch.cat(hidden, dim=1)[0]
        norm = self._model.model.norm
        weights, _ = self._weights(norm, "model.norm")
        yield functional_call(norm, weights, (torch.cat(hidden, dim=1),))[0]

    @torch.no_grad()
    def logits(self, states: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Logits of vocabulary entries start..stop for `states` (N, H): (N, stop − start)."""
        rows = slice(start, stop)
        weight = self._tensors.read_rows(self._head, start, stop).to(self._device).float()
        changes = self._changes.get(self._head, [])
        weight, pairs = unmerged(
            weight, [c[rows] if isinstance(c, torch.Tensor) else _rows(c, rows) for c in changes]
        )
        return add_pairs(functional.linear(states, weight), states, weight, pairs)

    def _embed(self, ids: list[int]) -> torch.Tensor:
        name = "model.embed_tokens.weight"
        rows = {i: self._tensors.read_rows(name, i, i + 1)[0] for i in set(ids)}
        for change in self._changes.get(name, []):
            if isinstance(change, torch.Tensor):
                rows = {i: change[i] for i in rows}
        return torch.stack([rows[i] for i in ids])[None].to(self._device, torch.float32)

    def _weights(
        self, module: nn.Module, prefix: str
    ) -> tuple[dict[str, torch.Tensor], dict[str, list[LoraPair]]]:
        """The tensors of `module` in fp32, and the pairs of its linear layers by their names."""
        weights: dict[str, torch.Tensor] = {}
        pairs: dict[str, list[LoraPair]] = {}
        for name in module.state_dict():
            whole = f"{prefix}.{name}"
            tensor = (
                self._tensors.read(whole).to(self._device).float()
            )  # moved first: half the bytes
            weights[name], added = unmerged(tensor, self._changes.get(whole, []))
            if added:
                pairs[name.removesuffix(".weight")] = added
        return weights, pairs


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


def _rows(pair: LoraPair, rows: slice) -> LoraPair:
    magnitude = None if pair.magnitude is None else pair.magnitude[rows]
    return LoraPair(pair.a, pair.b[rows], pair.scale, magnitude)
