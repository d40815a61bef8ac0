"""The Llama blocks on the GPU: fused products, one Triton kernel between two of them.

It owns the weights and the scratch memory that all steps share (they follow each other on one
stream). It does not know what a step is: the caller names the rows and how they attend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bullion.engine import kernels, skinny
from bullion.engine.attention_kernels import Turning
from bullion.engine.chain import hopper
from bullion.engine.tilings import MOST_ROWS, MOST_SPLITS, tiling
from bullion.engine.wide import Room, WideSite
from bullion.models.llama import LlamaShape, LlamaWeights, rotary_table

_FEWEST_RANKS = 8


@dataclass(frozen=True)
class Rows:
    """What each row of a step is; all (n,) int64 on the device."""

    given: Tensor  # its token, or −1: the last one sampled for its state
    states: Tensor
    positions: Tensor
    places: Tensor  # of its key and value in the pool
    slots: Tensor  # of its adapter, −1: none


@dataclass(frozen=True)
class _Block:
    input_norm: Tensor
    qkv: WideSite
    o: WideSite
    post_norm: Tensor
    gate_up: WideSite
    down: WideSite

    @property
    def sites(self) -> tuple[WideSite, ...]:
        return (self.qkv, self.o, self.gate_up, self.down)


Attend = Callable[[int, Tensor, Tensor], None]
"""Layer, queries (n, heads, D), output (n, heads · D) to fill."""
TurnAndAttend = Callable[[int, Tensor, Turning, Tensor], None]
"""Layer, parts of queries, keys and values (splits, n, Q + 2K) as the product left them, how to turn
them, output: it stores keys and values as well."""


class CudaLlama:
    """The base in bf16 or fp16 for steps of up to `rows` rows."""

    def __init__(self, weights: LlamaWeights, rows: int) -> None:
        self.shape = shape = weights.shape
        self.embed, self._norm, self.head = weights.embed, weights.norm, weights.head
        self.device, self.dtype = weights.embed.device, weights.embed.dtype
        self._turning = Turning(*rotary_table(shape, shape.max_positions, self.device))
        self.blocks = [
            _Block(
                layer.input_norm,
                WideSite(layer.qkv, layer.qkv_bias, (shape.q_size, shape.kv_size, shape.kv_size)),
                WideSite(layer.o, layer.o_bias, (shape.hidden_size,)),
                layer.post_norm,
                WideSite(layer.gate_up, layer.gate_up_bias, (shape.intermediate_size,) * 2),
                WideSite(layer.down, layer.down_bias, (shape.hidden_size,)),
            )
            for layer in weights.layers
        ]
        self._slots = self._rank = 0
        self._scratch = _Scratch(shape, rows, self.blocks[0], self.device, self.dtype)
        self._rows = rows

    def reserve(self, slot: int, rank: int) -> bool:
        """Room for an adapter of `rank` in `slot`; True when memory moved and graphs are void."""
        if slot < self._slots and rank <= self._rank:
            return False
        while self._slots <= slot:
            self._slots = max(1, 2 * self._slots)
        self._rank = max(self._rank, _FEWEST_RANKS)
        while self._rank < rank:
            self._rank *= 2
        for block in self.blocks:
            for site in block.sites:
                site.reserve(self._slots, self._rank)
        self._scratch = _Scratch(self.shape, self._rows, self.blocks[0], self.device, self.dtype)
        return True

    def hidden(
        self, rows: Rows, last: Tensor, cache: Tensor, attend: Attend, adapters: bool,
        turn_and_attend: TurnAndAttend | None = None,
    ) -> Tensor:  # fmt: skip
        """(n, H), the last norm applied, in scratch memory: use it before the next step.

        `last` (states,) holds the tokens sampled last; `cache` is (layers, 2, slots, kv_heads, D).
        `turn_and_attend` stands in for `attend` where no adapter has a part in the keys.
        """
        n, eps, s = rows.given.shape[0], self.shape.rms_norm_eps, self._scratch
        x, residual, queries, mixed = s.x[:n], s.residual[:n], s.queries[:n], s.mixed[:n]
        opened, slots, rank = s.opened[:n], rows.slots, self._rank
        first = self.blocks[0].input_norm
        kernels.begin(rows.given, rows.states, last, self.embed, first, residual, x, eps)
        for index, block in enumerate(self.blocks):
            keys, values = cache[index, 0], cache[index, 1]
            b = [site.b if adapters else None for site in block.sites]
            qkv = block.qkv.product(x, s.qkv, adapters)
            if turn_and_attend and not adapters:
                turn_and_attend(index, qkv, self._turning, mixed)
            else:
                kernels.rotate_store(
                    qkv, rows.positions, self._turning.cos, self._turning.sin, rows.places, queries,
                    keys, values, b[0], slots, rank,
                )  # fmt: skip
                attend(index, queries, mixed)
            o = block.o.product(mixed, s.back, adapters)
            kernels.add_norm(o, residual, block.post_norm, x, eps, b[1], slots, rank)
            if adapters or not block.gate_up.opened(x, opened):
                gate_up = block.gate_up.product(x, s.gate_up, adapters, whole=True)[0]
                kernels.gate(gate_up, opened, b[2], slots, rank)
            down = block.down.product(opened, s.back, adapters)
            following = self.blocks[index + 1 :]
            norm = following[0].input_norm if following else self._norm
            kernels.add_norm(down, residual, norm, x, eps, b[3], slots, rank)
        return x

    def logits(self, hidden: Tensor, out: Tensor | None = None) -> Tensor:
        """(n, H) → (n, V), into `out` where it is given"""
        if out is None:
            return F.linear(hidden, self.head)
        cut = tiling(self.head.shape[0], self.head.shape[1], hidden.shape[0])
        if cut and cut.splits == 1 and hopper(hidden.device):
            skinny.product(hidden, self.head, out.unsqueeze(0), cut)
            return out
        return torch.mm(hidden, self.head.t(), out=out)


class _Scratch:
    """One set of activations for the widest step; flat where the width can vary."""

    def __init__(
        self, shape: LlamaShape, rows: int, block: _Block, device: torch.device, dtype: torch.dtype
    ) -> None:
        def empty(*size: int) -> Tensor:
            return torch.empty(size, device=device, dtype=dtype)

        self.x = empty(rows, shape.hidden_size)
        self.residual = empty(rows, shape.hidden_size)
        self.queries = empty(rows, shape.heads, shape.head_dim)
        self.mixed = empty(rows, shape.q_size)
        self.opened = empty(rows, shape.intermediate_size)
        sites = (block.qkv, block.o, block.gate_up, block.down)
        qkv, o, gate_up, down = (site.width(True) for site in sites)
        few = min(rows, MOST_ROWS) * MOST_SPLITS

        def room(width: int) -> Room:
            parts = torch.empty(few * width, device=device, dtype=torch.float32)
            return Room(empty(rows * width), parts)

        self.qkv, self.back = room(qkv), room(max(o, down))
        self.gate_up = Room(empty(rows * gate_up), self.qkv.parts[:0])  # never in parts
