"""The Llama family on disk and as fused tensors: shape, rotary tables, weights.

What the engine and the fast training step have in common. It reads safetensors straight to the
device and joins q/k/v and gate/up on the way; it computes no layer.
Legend: V vocabulary, H hidden, I intermediate, D head size, Q = heads · D, K = kv_heads · D.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bullion.contract.errors import Refusal

R = TypeVar("R")


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
        """Raises Refusal("unsupported_architecture") for what is no plain Llama."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return LlamaShape.from_config(config, folder.name)

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


@dataclass(frozen=True)
class SpareRows:
    """Rows left free below each fused matrix, for low-rank A matrices that ride in one product."""

    qkv: int = 0
    o: int = 0
    gate_up: int = 0
    down: int = 0


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


def load_llama(
    folder: Path,
    shape: LlamaShape,
    device: torch.device,
    dtype: torch.dtype,
    spare: SpareRows | None = None,
) -> Generator[None, None, LlamaWeights]:
    """Reads `folder` layer by layer, yielding between layers; the weights are its return value.

    Every tensor of the files must have its place and every place its tensor.
    Raises Refusal("broken_weights").
    """
    spare = spare or SpareRows()
    with ExitStack() as stack:
        files = _Files(folder, stack)

        def rows(names: list[str], width: int, free: int = 0) -> Tensor:
            heights = [files.shape(name)[0] for name in names]
            fused = torch.empty(sum(heights) + free, width, dtype=dtype, device=device)
            start = 0
            for name, height in zip(names, heights, strict=True):
                fused[start : start + height].copy_(files.take(name, (height, width)))
                start += height
            fused[start:].zero_()
            return fused

        def vector(name: str, size: int) -> Tensor:
            return files.take(name, (size,)).to(device=device, dtype=dtype)

        def biases(names: list[str], has: bool) -> Tensor | None:
            if not has:
                return None
            parts = [vector(name, files.shape(name)[0]) for name in names]
            return torch.cat(parts)

        h, i = shape.hidden_size, shape.intermediate_size
        embed = rows(["model.embed_tokens.weight"], h)
        layers = []
        for index in range(shape.layers):
            at = f"model.layers.{index}."
            qkv = [f"{at}self_attn.{part}_proj" for part in "qkv"]
            pair = [f"{at}mlp.{part}_proj" for part in ("gate", "up")]
            o, down = f"{at}self_attn.o_proj", f"{at}mlp.down_proj"
            layers.append(
                LlamaLayer(
                    input_norm=vector(f"{at}input_layernorm.weight", h),
                    qkv=rows([f"{name}.weight" for name in qkv], h, spare.qkv),
                    qkv_bias=biases([f"{name}.bias" for name in qkv], shape.attention_bias),
                    o=rows([f"{o}.weight"], shape.q_size, spare.o),
                    o_bias=biases([f"{o}.bias"], shape.attention_bias),
                    post_norm=vector(f"{at}post_attention_layernorm.weight", h),
                    gate_up=rows([f"{name}.weight" for name in pair], h, spare.gate_up),
                    gate_up_bias=biases([f"{name}.bias" for name in pair], shape.mlp_bias),
                    down=rows([f"{down}.weight"], i, spare.down),
                    down_bias=biases([f"{down}.bias"], shape.mlp_bias),
                )
            )
            yield
        norm = vector("model.norm.weight", h)
        if shape.tied:
            files.drop("lm_head.weight")
        head = embed if shape.tied else rows(["lm_head.weight"], h)
        files.drop_all(lambda name: name.endswith("rotary_emb.inv_freq"))
        files.assert_empty()
    return LlamaWeights(shape, embed, layers, norm, head)


def run_through(work: Generator[Any, None, R]) -> R:
    """Runs a generator to its end and returns what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class _Files:
    """The safetensors of a folder as one table of tensors; each is taken once."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._readers: dict[str, Any] = {}
        try:
            for file in sorted(folder.glob("*.safetensors")):
                reader = stack.enter_context(safe_open(str(file), framework="pt"))
                for name in reader.keys():
                    self._readers[name] = reader
        except SafetensorError as raised:
            raise self._broken(f"a weight file is damaged ({raised})") from raised

    def shape(self, name: str) -> list[int]:
        if name not in self._readers:
            raise self._broken(f"{name} is missing")
        return list(self._readers[name].get_slice(name).get_shape())

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        found = self.shape(name)
        if tuple(found) != shape:
            raise self._broken(f"{name} is {found}, not {list(shape)}")
        return self._readers.pop(name).get_tensor(name)  # type: ignore[no-any-return]

    def drop(self, name: str) -> None:
        self._readers.pop(name, None)

    def drop_all(self, unwanted: Callable[[str], bool]) -> None:
        for name in [name for name in self._readers if unwanted(name)]:
            self.drop(name)

    def assert_empty(self) -> None:
        if self._readers:
            raise self._broken(
                f"nothing reads {len(self._readers)} tensors, as {min(self._readers)}"
            )

    def _broken(self, fault: str) -> Refusal:
        return Refusal(
            "broken_weights",
            f"Cannot load {self._folder.name!r} as its weights do not fit its config.json: {fault}",
            "model",
        )


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
