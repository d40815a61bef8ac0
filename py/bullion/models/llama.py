"""The Llama family on disk and as fused tensors: shape, rotary tables, weights.

What everything that computes Llama layers by itself has in common. It reads no weights
(llama_weights.py) and computes no layer.
Legend: V vocabulary, H hidden, I intermediate, D head size, Q = heads · D, K = kv_heads · D.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bullion.contract.errors import Refusal
from bullion.models.settings import broken, read_settings


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's stretching of the slow rotary frequencies; names as in config.json."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class LinearScaling:
    factor: float


@dataclass(frozen=True)
class LlamaShape:
    """A Llama checkpoint's config.json, as far as computing needs it."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: Llama3Scaling | LinearScaling | None
    tied: bool
    attention_bias: bool
    mlp_bias: bool
    dtype: torch.dtype  # of the file, as config.json states it

    @property
    def q_size(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_size(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def parameters(self) -> int:
        h, i = self.hidden_size, self.intermediate_size
        layer = h * (2 * self.q_size + 2 * self.kv_size) + 3 * h * i + 2 * h
        return self.layers * layer + self.vocab_size * h * (1 if self.tied else 2) + h

    @staticmethod
    def read(folder: Path) -> LlamaShape:
        """Raises Refusal: unsupported_architecture for what is no plain Llama, broken_config."""
        file = folder / "config.json"
        try:
            return LlamaShape.from_config(read_settings(file), folder.name)
        except KeyError as raised:
            raise broken(file, f"it has no {raised.args[0]}") from raised

    @staticmethod
    def from_config(config: dict[str, Any], name: str) -> LlamaShape:
        architecture = (config.get("architectures") or [config.get("model_type")])[0]
        if architecture != "LlamaForCausalLM":
            raise _unsupported(name, f"its architecture is {architecture}")
        for key in ("quantization_config", "sliding_window"):
            if config.get(key):
                raise _unsupported(name, f"config.json sets {key}")
        if config.get("hidden_act", "silu") != "silu":
            raise _unsupported(name, f"its activation is {config['hidden_act']}")
        heads = config["num_attention_heads"]
        rope = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
        return LlamaShape(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            max_positions=config["max_position_embeddings"],
            rms_norm_eps=config.get("rms_norm_eps", 1e-6),
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
            rope_scaling=_scaling(rope, name),
            tied=bool(config.get("tie_word_embeddings", False)),
            attention_bias=bool(config.get("attention_bias", False)),
            mlp_bias=bool(config.get("mlp_bias", False)),
            dtype=_dtype(config.get("dtype") or config.get("torch_dtype")),
        )


@dataclass
class LlamaLayer:
    """One block's tensors; biases are None in Llama 3. Rows of qkv: q, k, v; of gate_up: gate, up."""

    input_norm: Tensor  # (H,)
    qkv: Tensor  # (Q + 2K, H)
    qkv_bias: Tensor | None
    o: Tensor  # (H, Q)
    o_bias: Tensor | None
    post_norm: Tensor  # (H,)
    gate_up: Tensor  # (2I, H)
    gate_up_bias: Tensor | None
    down: Tensor  # (H, I)
    down_bias: Tensor | None


@dataclass
class LlamaWeights:
    shape: LlamaShape
    embed: Tensor  # (V, H)
    layers: list[LlamaLayer]
    norm: Tensor  # (H,)
    head: Tensor  # (V, H); the same tensor as embed when tied


def rotary_frequencies(shape: LlamaShape) -> Tensor:
    """Angles a position, fp32 (D / 2,), as transformers computes them (checked in tests)."""
    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.int64).float() / shape.head_dim
    inverse = 1.0 / (shape.rope_theta**exponents)
    scaling = shape.rope_scaling
    if scaling is None:
        return inverse
    if isinstance(scaling, LinearScaling):
        return inverse / scaling.factor
    wavelength = 2 * math.pi / inverse
    trained = scaling.original_max_position_embeddings
    # 1 where the wave turns often enough in the trained context to be kept, 0 where it is stretched
    kept = (trained / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    kept = kept.clamp(0, 1)
    return (1 - kept) * inverse / scaling.factor + kept * inverse


def rotary_table(shape: LlamaShape, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions 0 … length − 1, each fp32 (length, D / 2)."""
    angles = torch.outer(torch.arange(length).float(), rotary_frequencies(shape))
    return angles.cos().to(device), angles.sin().to(device)


def _scaling(rope: dict[str, Any], name: str) -> Llama3Scaling | LinearScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind == "linear":
        return LinearScaling(float(rope["factor"]))
    if kind == "llama3":
        return Llama3Scaling(
            factor=float(rope["factor"]),
            low_freq_factor=float(rope["low_freq_factor"]),
            high_freq_factor=float(rope["high_freq_factor"]),
            original_max_position_embeddings=int(rope["original_max_position_embeddings"]),
        )
    raise _unsupported(name, f"its rotary scaling is {kind}")


def _dtype(name: str | None) -> torch.dtype:
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    return known.get(str(name), torch.float32)


def _unsupported(name: str, why: str) -> Refusal:
    return Refusal(
        "unsupported_architecture",
        f"Cannot serve {name!r} as {why}: the built-in engine serves Llama models "
        "(LlamaForCausalLM, rotary scaling default, linear or llama3)",
        "model",
    )
