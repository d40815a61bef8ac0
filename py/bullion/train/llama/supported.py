"""Whether the Llama step can train a model, and the reason for the user when it cannot.

Reads the modules PEFT made without naming PEFT. Changes nothing.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from bullion.contract.recipe import TrainSpec
from bullion.train.llama.attention import TILED_WIDTHS
from bullion.train.llama.fp8 import odd_shape
from bullion.train.llama.shape import LlamaShape

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_ROPES = ("default", "linear", "llama3", "yarn")
"""Rotary tables that depend on the position alone, so that packed records get the same as separate ones."""
_ADAPTER = re.compile(
    rf"\.layers\.\d+\.(self_attn|mlp)\.({'|'.join(PROJECTIONS)})\.lora_[AB]\.[^.]+\.weight$"
)


def obstacle(peft_model: nn.Module, spec: TrainSpec, device: torch.device) -> str | None:
    """Why the Llama step cannot train this, as the end of a sentence; None when it can."""
    model: Any = decoder(peft_model)
    config = getattr(model, "config", None)
    kind = getattr(config, "model_type", None)
    if config is None or kind != "llama":
        return f"the base is a {kind or type(model).__name__} model, not a Llama"
    if spec.quantization is not None or getattr(model, "is_quantized", False):
        return "the base is quantised"
    if spec.lora.use_dora:
        return "DoRA rescales the frozen weights"
    if spec.optimizer.neftune_noise_alpha:
        return "NEFTune adds noise to the embeddings"
    if device.type not in ("cpu", "cuda"):
        return f"the device is {device.type}"
    if spec.precision.compute_dtype == "fp8" and (reason := odd_shape(LlamaShape.of(config))):
        return reason
    return _odd_config(config) or _odd_numbers(model, config, device) or _odd_adapter(model)


def decoder(peft_model: nn.Module) -> Any:
    """The Transformers model inside PEFT's wrappers, or the model itself when it is bare."""
    base = getattr(peft_model, "base_model", None)
    inner = getattr(base, "model", None)
    return inner if inner is not None and hasattr(inner, "lm_head") else peft_model


def _odd_config(config: Any) -> str | None:
    if config.hidden_act != "silu":
        return f"its activation is {config.hidden_act}"
    if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
        return "its linear layers have a bias"
    if getattr(config, "attention_dropout", 0.0):
        return "it drops attention weights"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope not in _ROPES:
        return f"its rotary scaling {rope!r} depends on the length of a record"
    return None


def _odd_numbers(model: Any, config: Any, device: torch.device) -> str | None:
    dtypes = {p.dtype for name, p in model.named_parameters() if ".lora_" not in name}
    wanted = torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtypes != {wanted}:
        found = ", ".join(sorted(str(d).removeprefix("torch.") for d in dtypes))
        return f"the base is {found} on {device.type}, not {str(wanted).removeprefix('torch.')}"
    if device.type == "cuda":
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        if torch.cuda.get_device_capability(device) < (8, 0):
            return "the GPU is older than Ampere"
        if head not in TILED_WIDTHS:
            return f"its heads are {head} wide"
        try:
            import triton  # noqa: F401
        except ImportError:
            return "Triton is not installed"
    return None


def _odd_adapter(model: Any) -> str | None:
    ranks = set()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not _ADAPTER.search(f".{name}"):
            return f"{name} is trained as well"
    for layer in model.model.layers:
        found = []
        for projection in PROJECTIONS:
            owner = layer.self_attn if hasattr(layer.self_attn, projection) else layer.mlp
            module = getattr(owner, projection)
            if not hasattr(module, "lora_A"):
                if type(module) is not nn.Linear:
                    return f"{projection} is a {type(module).__name__}"
                continue
            if type(module.base_layer) is not nn.Linear:
                return f"{projection} is a {type(module.base_layer).__name__}"
            if len(module.active_adapters) != 1 or getattr(module, "merged", False):
                return "not exactly one adapter is active"
            if getattr(module, "lora_variant", None) or any(
                linear.bias is not None for linear in module.lora_B.values()
            ):
                return "its adapter is more than plain LoRA"
            found.append((projection, module.lora_A[module.active_adapters[0]].weight.shape[0]))
        ranks.add(tuple(found))
    if len(ranks) != 1:
        return "its layers are adapted in different ways"
    return None
