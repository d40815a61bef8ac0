"""An adapter folder as plain tensors, and the one formula that merges it into a weight.

Reads PEFT's file format (adapter_config.json, adapter_model.safetensors) without PEFT: the engine
and the export need no wrapped modules. It trains and writes nothing.

Legend: in, out = features of the adapted linear layer; r = rank.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from bullion.contract.errors import Refusal

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."


@dataclass(frozen=True)
class LoraPair:
    """What an adapter adds to one linear layer: W x + scale · B A x; DoRA also sets the row norms."""

    a: torch.Tensor  # (r, in)
    b: torch.Tensor  # (out, r)
    scale: float
    magnitude: torch.Tensor | None = None  # (out,), DoRA's


@dataclass(frozen=True)
class Adapter:
    """`pairs` by module name in the base (model.layers.0.self_attn.q_proj); `replaced` by tensor
    name in the base: modules that were trained in full (additional_target)."""

    config: dict[str, Any]
    pairs: dict[str, LoraPair]
    replaced: dict[str, torch.Tensor]


def read_adapter(folder: Path) -> Adapter:
    """The adapter of `folder`, on the CPU, in the dtype of its file.

    Raises Refusal: adapter_not_found, unsafe_weights, broken_adapter, unsupported_adapter.
    """
    config = read_adapter_config(folder)
    tensors = load_adapter_tensors(folder)
    pairs: dict[str, LoraPair] = {}
    replaced: dict[str, torch.Tensor] = {}
    names: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise Refusal(
                "broken_adapter",
                f"Cannot use the adapter in {folder}: {key} is not finite. Training diverged: use "
                "an earlier checkpoint or a lower learning rate",
                "adapter_name_or_path",
            )
        name = key.removeprefix(_PREFIX)
        for part in ("lora_A", "lora_B", "lora_magnitude_vector"):
            module, found, _ = name.partition(f".{part}")
            if found:
                names.setdefault(module, {})[part] = tensor
                break
        else:
            replaced[name] = tensor
    for module, parts in names.items():
        a, b = parts.get("lora_A"), parts.get("lora_B")
        if a is None or b is None or a.shape[0] != b.shape[1]:
            raise Refusal(
                "broken_adapter",
                f"Cannot use the adapter in {folder}: {module} has no matching A and B",
                "adapter_name_or_path",
            )
        scale = adapter_scale(config, module, rank=a.shape[0])
        pairs[module] = LoraPair(a, b, scale, parts.get("lora_magnitude_vector"))
    return Adapter(config, pairs, replaced)


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """adapter_config.json, refused when it asks for what is not plain LoRA, DoRA or rsLoRA."""
    file = folder / CONFIG
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as raised:
        raise Refusal(
            "adapter_not_found",
            f"Cannot use {folder} as an adapter: it holds no {CONFIG}",
            "adapter_name_or_path",
        ) from raised
    except ValueError as raised:
        raise Refusal(
            "broken_adapter", f"Cannot read {file}: {raised}", "adapter_name_or_path"
        ) from raised
    foreign = [
        key
        for key in ("lora_bias", "fan_in_fan_out", "use_qalora", "layer_replication",
                    "trainable_token_indices", "target_parameters",
                    "alora_invocation_tokens", "arrow_config", "kasa_config", "use_bdlora")
        if config.get(key)
    ]  # fmt: skip
    if config.get("peft_type") != "LORA":
        foreign.append(f"peft_type={config.get('peft_type')}")
    if config.get("bias", "none") != "none":
        foreign.append(f"bias={config['bias']}")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.startswith(("pissa", "olora", "corda", "loftq", "lora_ga")):
        foreign.append(f"init_lora_weights={start} (made over a changed base; convert it first)")
    if foreign:
        raise Refusal(
            "unsupported_adapter",
            f"Cannot use the adapter in {folder} as it has {', '.join(foreign)}: "
            "LoRA, rsLoRA and DoRA on linear layers are known",
            "adapter_name_or_path",
        )
    return config


def load_adapter_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the adapter's file under its name in the file, on the CPU."""
    file = folder / WEIGHTS
    if not file.is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        raise Refusal(
            "unsafe_weights" if pickled else "adapter_not_found",
            f"Cannot use {folder} as an adapter: it holds no {WEIGHTS}"
            + (", only a pickle, which can run code" if pickled else ""),
            "adapter_name_or_path",
        )
    try:
        with safe_open(str(file), framework="pt") as reader:
            return {key: reader.get_tensor(key) for key in reader.keys()}
    except SafetensorError as raised:
        raise Refusal(
            "broken_adapter", f"Cannot read {file}: {raised}", "adapter_name_or_path"
        ) from raised


def adapter_scale(config: dict[str, Any], module: str = "", rank: int | None = None) -> float:
    """α / r, or α / √r with rsLoRA. Patterns by module name count as PEFT reads them."""
    r = rank if rank is not None else _by_pattern(config.get("rank_pattern"), module, config["r"])
    alpha = _by_pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
    return alpha / math.sqrt(r) if config.get("use_rslora") else alpha / r


def merged_weight(weight: torch.Tensor, pair: LoraPair) -> torch.Tensor:
    """round(W + scale · B A) in W's dtype, computed in fp32 on W's device; DoRA rescales the rows.

    (out, in) → (out, in). The same bits as LLaMA-Factory's export in fp32 and bf16.
    """
    a = pair.a.to(weight.device, torch.float32)
    b = pair.b.to(weight.device, torch.float32)
    merged = (b @ a).mul_(pair.scale).add_(weight)  # in place: fresh memory costs more than sums
    if pair.magnitude is not None:
        norm = torch.linalg.vector_norm(merged, dim=1)
        merged = (pair.magnitude.to(weight.device, torch.float32) / norm).unsqueeze(1) * merged
    return merged.to(weight.dtype)


def _by_pattern(patterns: dict[str, Any] | None, module: str, default: Any) -> Any:
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
