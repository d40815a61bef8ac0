"""A Llama checkpoint's safetensors straight to the device, q/k/v and gate/up joined on the way.

It owns the reading and the check that every tensor has its place and every place its tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bullion.contract.errors import Refusal
from bullion.models.llama import LlamaLayer, LlamaShape, LlamaWeights

R = TypeVar("R")


@dataclass(frozen=True)
class SpareRows:
    """Rows left free below each fused matrix, for low-rank A matrices that ride in one product."""

    qkv: int = 0
    o: int = 0
    gate_up: int = 0
    down: int = 0


def load_llama(
    folder: Path,
    shape: LlamaShape,
    device: torch.device,
    dtype: torch.dtype | None,
    spare: SpareRows | None = None,
) -> Generator[None, None, LlamaWeights]:
    """Reads `folder` layer by layer, yielding between layers; the weights are its return value.

    `dtype` None keeps a matrix in the file's own, fp32 where it joins several, and makes vectors fp32.
    Every tensor of the files must have its place and every place its tensor.
    Raises Refusal("broken_weights").
    """
    spare = spare or SpareRows()
    with ExitStack() as stack:
        files = _Files(folder, stack)

        def rows(names: list[str], width: int, free: int = 0) -> Tensor:
            parts = [files.take(name, (files.shape(name)[0], width)) for name in names]
            kinds = {part.dtype for part in parts}
            held = dtype or (kinds.pop() if len(kinds) == 1 else torch.float32)
            height = sum(part.shape[0] for part in parts)
            fused = torch.empty(height + free, width, dtype=held, device=device)
            start = 0
            for part in parts:
                fused[start : start + part.shape[0]].copy_(part)
                start += part.shape[0]
            fused[start:].zero_()
            files.assert_finite(names, fused)
            return fused

        def vector(name: str, size: int) -> Tensor:
            return files.take(name, (size,)).to(device=device, dtype=dtype or torch.float32)

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

    def assert_finite(self, names: list[str], fused: Tensor) -> None:
        if not torch.stack(torch.aminmax(fused)).isfinite().all():
            raise self._broken(f"{' or '.join(names)} holds a number that is not finite")

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
