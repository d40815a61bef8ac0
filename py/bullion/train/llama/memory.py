"""The memory of a packed step: which activations are kept, where they lie, how many bytes that is.

One list of buffers serves both the allocation and the estimate. It computes nothing.

Legend: T tokens of the largest pack; R padded ranks of the four groups (rank_columns).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bullion.train.llama.shape import LlamaShape
from bullion.train.step import Recompute

KEPT: dict[Recompute, frozenset[str]] = {
    "none": frozenset(("x", "normed", "qkv", "o_rank", "middle", "normed_mlp", "gate_up", "act")),
    "selective": frozenset(("x", "qkv", "o_rank", "middle", "gate_up")),
    "full": frozenset(("x",)),
}
"""Activations that each layer keeps for its backward pass; the others are computed again.

selective computes the norms, SwiGLU and the narrow LoRA products again (a few percent), full all
products of a block but the last (about a third of the step)."""

GRAIN = 256  # tokens: buffers grow by whole grains
LOGITS_BYTES = 1 << 28  # of one chunk
CONTEXT_BYTES = 900_000_000  # CUDA's context, libraries' workspaces, allocator slack


@dataclass(frozen=True)
class RankColumns:
    """Spare columns of the groups that share their input."""

    qkv: int
    o: int
    gate_up: int
    down: int


def layer_columns(shape: LlamaShape, ranks: RankColumns) -> dict[str, int]:
    """Columns of the activations of one layer that may be kept or shared."""
    return {
        "x": shape.hidden,
        "normed": shape.hidden + ranks.qkv,
        "qkv": shape.qkv_width,
        "o_rank": ranks.o,
        "middle": shape.hidden,
        "normed_mlp": shape.hidden + ranks.gate_up,
        "gate_up": 2 * shape.mlp,
        "act": shape.mlp + ranks.down,
    }


def shared_columns(shape: LlamaShape, ranks: RankColumns) -> dict[str, int]:
    """Columns of the buffers that all layers use in turn."""
    return {
        "delta": shape.hidden,
        "gradient": shape.hidden + max(ranks.o, ranks.down),
        "d_act": shape.mlp,
        "d_gate_up": 2 * shape.mlp + ranks.gate_up,
        "d_narrow": max(shape.hidden, shape.q_width),
        "d_qkv": shape.qkv_width + ranks.qkv,
        "chosen": shape.hidden,
        "chosen_normed": shape.hidden,
    }


def whole_grains(tokens: int) -> int:
    return -(-tokens // GRAIN) * GRAIN


def logits_rows(shape: LlamaShape, tokens: int, itemsize: int) -> int:
    return max(1, min(tokens, LOGITS_BYTES // (shape.vocabulary * itemsize)))


def estimate(
    shape: LlamaShape,
    tokens: int,
    recompute: Recompute,
    rank: int = 8,
    device_type: str = "cuda",
    fp8: bool = False,
) -> int:
    """Bytes of device memory of training with packs of at most `tokens` tokens, AdamW in fp32.

    Counted: weights with their spare columns, adapters with gradient and optimiser state, kept
    activations, shared buffers, logits, attention's own buffers, the context. With `fp8` the weights
    twice in one byte with a scale for every row, the adapters apart, and one quantised input.
    """
    tokens = whole_grains(tokens)
    cuda = device_type == "cuda"
    item = 2 if cuda else 4
    multiple = 64 if cuda else 1
    ranks = RankColumns(*(-(-n * rank // multiple) * multiple for n in (3, 1, 2, 1)))
    s = shape
    groups = (
        (s.qkv_width, s.hidden, ranks.qkv, 3),
        (s.hidden, s.q_width, ranks.o, 1),
        (2 * s.mlp, s.hidden, ranks.gate_up, 2),
        (s.hidden, s.mlp, ranks.down, 1),
    )
    if fp8:
        frozen = sum(2 * n * k + 4 * (n + k) + item * r * (n + k) for n, k, r, _ in groups)
    else:
        frozen = item * sum((n + r) * (k + r) for n, k, r, _ in groups)
    others = 2 * s.layers * s.hidden + s.vocabulary * s.hidden * (1 if s.tied else 2) + s.hidden
    weights = s.layers * frozen + item * others
    adapters = s.layers * sum(rank * (n + k * pairs) for n, k, _, pairs in groups)
    columns = layer_columns(s, ranks)
    kept = KEPT[recompute]
    attention = s.q_width + 2 * s.heads  # the output and the fp32 log-sum-exp
    per_layer = sum(columns[name] for name in kept) + (attention if recompute != "full" else 0)
    shared = sum(shared_columns(s, ranks).values())
    shared += sum(columns[name] for name in columns.keys() - kept)
    shared += attention * (recompute == "full") + 6 * s.q_width  # attention's backward
    logits = logits_rows(s, tokens, item) * s.vocabulary * item * (1 if cuda else 2)
    activations = tokens * (item * (s.layers * per_layer + shared) + (2 * s.mlp + 4) * fp8)
    return weights + 16 * adapters + activations + logits + CONTEXT_BYTES * cuda


class Workspace:
    """All buffers of a step, in one allocation that grows with the largest pack."""

    def __init__(
        self,
        shape: LlamaShape,
        ranks: RankColumns,
        recompute: Recompute,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._shape, self._dtype, self._device = shape, dtype, device
        self._columns = layer_columns(shape, ranks)
        self._shared_columns = shared_columns(shape, ranks)
        self._kept = KEPT[recompute]
        self._capacity = 0
        self._layers: list[dict[str, Tensor]] = []
        self._shared: dict[str, Tensor] = {}
        self.logits = torch.empty(0)

    def reserve(self, tokens: int) -> None:
        """Make room for packs of `tokens` tokens; what was in the buffers is lost when they grow."""
        if tokens <= self._capacity:
            return
        self._layers, self._shared, self.logits = [], {}, torch.empty(0)
        if self._device.type == "cuda" and self._capacity:
            torch.cuda.empty_cache()  # the old arena must go before the new one comes
        capacity = whole_grains(tokens)
        shape, kept = self._shape, self._kept
        rows = logits_rows(shape, capacity, self._dtype.itemsize)
        own = [(name, self._columns[name]) for name in self._columns if name in kept]
        common = [(name, self._columns[name]) for name in self._columns if name not in kept]
        common += list(self._shared_columns.items())
        columns = shape.layers * sum(c for _, c in own) + sum(c for _, c in common)
        # Zeros, not garbage: the padding between a group's rank and its spare columns stays zero.
        arena = torch.zeros(
            capacity * columns + rows * shape.vocabulary, dtype=self._dtype, device=self._device
        )
        start = 0

        def carve(width: int, height: int) -> Tensor:
            nonlocal start
            start += height * width
            return arena[start - height * width : start].view(height, width)

        self._shared = {name: carve(width, capacity) for name, width in common}
        self._layers = [
            {name: carve(width, capacity) for name, width in own} for _ in range(shape.layers)
        ]
        self.logits = carve(shape.vocabulary, rows)
        self._capacity = capacity

    def layer(self, index: int, tokens: int) -> dict[str, Tensor]:
        """The buffers of one layer, (tokens, columns) each; what is not kept is shared by all."""
        own = self._layers[index]
        return {
            name: (own[name] if name in own else self._shared[name])[:tokens]
            for name in self._columns
        }

    def shared(self, name: str, tokens: int) -> Tensor:
        return self._shared[name][:tokens]

    def keeps(self, name: str) -> bool:
        """Whether each layer has a buffer `name` of its own."""
        return name in self._kept
