"""The Llama blocks over a batch of rows from many sequences, in plain torch on the CPU.

It owns the packed weights and no other memory: keys and values go to the pages that the batch names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bullion.engine.attention import Span, attend
from bullion.engine.linear import LoraRows, Site, product
from bullion.models.llama import LlamaWeights, rotary_table


@dataclass(frozen=True)
class Batch:
    """Rows of several sequences, one token each."""

    tokens: Tensor  # (n,) int64
    positions: Tensor  # (n,) int64
    slots: Tensor  # (n,) int64: page · page_tokens + offset, where the row's key and value go
    spans: Sequence[Span]
    lora: LoraRows | None


@dataclass(frozen=True)
class _Block:
    input_norm: Tensor
    qkv: Site
    o: Site
    post_norm: Tensor
    gate_up: Site
    down: Site


class Llama:
    """The base on the CPU in fp32. Takes `weights` over: they are packed and let go layer by layer."""

    def __init__(self, weights: LlamaWeights) -> None:
        self.shape = shape = weights.shape
        self._embed = weights.embed
        self._norm = weights.norm
        self._head = product(weights.head, None)
        self._cos, self._sin = rotary_table(shape, shape.max_positions, weights.embed.device)
        self.blocks: list[_Block] = []
        while weights.layers:
            layer = weights.layers.pop(0)
            self.blocks.append(
                _Block(
                    layer.input_norm,
                    Site(layer.qkv, layer.qkv_bias, (shape.q_size, shape.kv_size, shape.kv_size)),
                    Site(layer.o, layer.o_bias, (shape.hidden_size,)),
                    layer.post_norm,
                    Site(layer.gate_up, layer.gate_up_bias, (shape.intermediate_size,) * 2),
                    Site(layer.down, layer.down_bias, (shape.hidden_size,)),
                )
            )

    def hidden(self, batch: Batch, cache: Tensor) -> Tensor:
        """(n, H), the last norm applied. `cache` is (layers, 2, pages, page_tokens, kv_heads, D)."""
        shape = self.shape
        cos = self._cos.index_select(0, batch.positions).unsqueeze(1)  # (n, 1, D / 2)
        sin = self._sin.index_select(0, batch.positions).unsqueeze(1)
        stored = cache.flatten(2, 3)  # (layers, 2, slots, kv_heads, D)
        residual = F.embedding(batch.tokens, self._embed)
        for index, block in enumerate(self.blocks):
            qkv = block.qkv(self._rms(residual, block.input_norm), batch.lora)
            heads = qkv.view(qkv.shape[0], -1, shape.head_dim)
            turned = _rotate(heads[:, : shape.heads + shape.kv_heads], cos, sin)
            q, k = turned.split([shape.heads, shape.kv_heads], dim=1)
            stored[index, 0].index_copy_(0, batch.slots, k)
            stored[index, 1].index_copy_(0, batch.slots, heads[:, shape.heads + shape.kv_heads :])
            mixed = attend(q, cache[index, 0], cache[index, 1], batch.spans)
            residual += block.o(mixed, batch.lora)
            fused = block.gate_up(self._rms(residual, block.post_norm), batch.lora)
            gate, up = fused.chunk(2, dim=-1)
            residual += block.down(F.silu(gate).mul_(up), batch.lora)
        return self._rms(residual, self._norm)

    def site(self, layer: int, kind: str) -> Site:
        return getattr(self.blocks[layer], kind)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """(n, H) → (n, V)"""
        return self._head(hidden)

    def _rms(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.shape.rms_norm_eps)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns (n, heads, D) by the angles of its rows; halves of a head are the two coordinates."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)
