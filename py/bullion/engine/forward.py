"""The Llama blocks over a batch of rows from many sequences, in plain torch on the CPU.

It owns the packed weights and no other memory: keys and values go to the pages that the batch names.
A small base's step is mostly calls and the reading of its weights. So a head's rows lie as a rotation
wants them, to be one product of complex numbers, and nothing else is folded into the weights: they keep
the few digits that they have in their file, and products.py holds them in two bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bullion.engine.attention import Span, StepAttention
from bullion.engine.linear import LoraRows, Site
from bullion.engine.products import product
from bullion.models.llama import LlamaShape, LlamaWeights, rotary_table


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
    before: Tensor  # (H,), a norm's weight, see `_gain`
    qkv: Site
    o: Site
    after: Tensor  # (H,)
    gate_up: Site
    down: Site


class Llama:
    """The base on the CPU, computed in fp32. `weights` are matrices of any dtype; `prepare` comes first."""

    def __init__(self, weights: LlamaWeights) -> None:
        self.shape = shape = weights.shape
        self._weights = weights
        self._embed = weights.embed
        self._rest = (shape.rms_norm_eps * shape.hidden_size) ** 0.5
        self._norm = self._gain(weights.norm)
        self._turns = torch.complex(
            *rotary_table(shape, shape.max_positions, weights.embed.device)
        ).unsqueeze(1)  # (positions, 1, D / 2)
        self.blocks: list[_Block] = []

    def prepare(self) -> Iterator[None]:
        """Packs the weights layer by layer, each then let go, and yields between them."""
        shape, pairs = self.shape, _pairs(self.shape)
        q_k_v = (shape.q_size, shape.kv_size, shape.kv_size)
        while self._weights.layers:
            layer = self._weights.layers.pop(0)
            self.blocks.append(
                _Block(
                    self._gain(layer.input_norm),
                    Site(layer.qkv, layer.qkv_bias, q_k_v, order=pairs),
                    Site(layer.o, layer.o_bias, (shape.hidden_size,)),
                    self._gain(layer.post_norm),
                    Site(layer.gate_up, layer.gate_up_bias, (shape.intermediate_size,) * 2),
                    Site(layer.down, layer.down_bias, (shape.hidden_size,)),
                )
            )
            yield
        self._head = product(self._weights.head, None)
        del self._weights

    def hidden(self, batch: Batch, cache: Tensor) -> Tensor:
        """(n, H), the last norm applied. `cache` is (layers, pages, page_tokens, 2 · kv_heads, D)."""
        shape = self.shape
        turns = self._turns.index_select(0, batch.positions)
        attend = StepAttention(cache, batch.spans, batch.tokens.shape[0], shape.heads)
        stored = cache.flatten(1, 2).unbind()  # a layer's (slots, 2 · kv_heads, D)
        embedded = F.embedding(batch.tokens, self._embed).float()
        residual = F.pad(embedded, (0, 1), value=self._rest)  # (n, H + 1), see _normed
        stream = residual[:, : shape.hidden_size]
        for index, block in enumerate(self.blocks):
            qkv = block.qkv(_normed(residual, block.before), batch.lora)
            heads = qkv.unflatten(1, (-1, shape.head_dim))
            turned = heads[:, : shape.heads + shape.kv_heads].unflatten(2, (-1, 2))
            torch.view_as_complex(turned).mul_(turns)
            stored[index].index_copy_(0, batch.slots, heads[:, shape.heads :])
            stream += block.o(attend(index, heads[:, : shape.heads]), batch.lora)
            fused = block.gate_up(_normed(residual, block.after), batch.lora)
            gate, up = fused.chunk(2, dim=-1)
            stream += block.down(F.silu(gate).mul_(up), batch.lora)
        return _normed(residual, self._norm)

    def site(self, layer: int, kind: str) -> Site:
        return getattr(self.blocks[layer], kind)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """(n, H) → (n, V)"""
        return self._head(hidden)

    def _gain(self, norm: Tensor) -> Tensor:
        """What `_normed` multiplies by: a norm's weight over the length that it makes of a row."""
        return norm * self.shape.hidden_size**0.5


def _normed(residual: Tensor, gain: Tensor) -> Tensor:
    """(n, H + 1) → (n, H): rows over √(Σx² + H ε), times `gain`: their root mean square norm.

    The last column is √(H ε) all the way, which makes that root the length of the whole row.
    """
    length = torch.linalg.vector_norm(residual, dim=-1, keepdim=True)
    return (residual[:, :-1] / length).mul_(gain)


def _pairs(shape: LlamaShape) -> Tensor:
    """The order of qkv's rows in which the two coordinates that a rotation turns are neighbours.

    Llama turns dimension i of a head with i + D / 2; queries and keys are permuted alike, so their
    products stay what they are. Values keep their order.
    """
    half = shape.head_dim // 2
    within = torch.arange(half).repeat_interleave(2)
    within[1::2] += half
    first = torch.arange(0, shape.q_size + shape.kv_size, shape.head_dim).unsqueeze(1)
    values = torch.arange(shape.kv_size) + shape.q_size + shape.kv_size
    return torch.cat([(first + within).flatten(), values])
