"""One decoder block, forward and backward by hand.

The residual stream travels as (x, delta): the sum is made inside the next norm, which saves a pass.
The frozen weights get no gradient, so a backward pass is the products with W, the narrow LoRA
products and the element-wise gradients, in the order below. It owns its weights, no activations.

Legend: T tokens of the pack; H hidden; I MLP width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import Tensor
from torch.nn import Parameter

from bullion.train.llama.attention import Attention
from bullion.train.llama.gradients import Adapters, Product
from bullion.train.llama.linear import Dropout, LinearGroup, group_parameters
from bullion.train.llama.memory import RankColumns, Workspace
from bullion.train.llama.shape import LlamaShape


@dataclass
class Pass:
    """What all blocks share during one pack. `operations`: the module eager, or kernels on CUDA."""

    tokens: int
    shape: LlamaShape
    space: Workspace
    operations: ModuleType
    attention: Attention
    cos: Tensor  # (T, D/2)
    sin: Tensor
    drop: Dropout | None
    for_backward: bool


class Block:
    """`linear` takes over modules that share their input; attention's output waits for the way back."""

    def __init__(
        self, layer: Any, index: int, linear: Callable[[Sequence[Any]], LinearGroup]
    ) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.index = index
        self.qkv = linear((attention.q_proj, attention.k_proj, attention.v_proj))
        self.o = linear((attention.o_proj,))
        self.gate_up = linear((mlp.gate_proj, mlp.up_proj))
        self.down = linear((mlp.down_proj,))
        self._norm = layer.input_layernorm.weight.data
        self._norm_mlp = layer.post_attention_layernorm.weight.data
        self._attended: tuple[Tensor, Tensor] | None = None

    @property
    def groups(self) -> tuple[LinearGroup, ...]:
        return self.qkv, self.o, self.gate_up, self.down

    @property
    def ranks(self) -> RankColumns:
        return RankColumns(*(group.rank for group in self.groups))

    def forward(self, run: Pass, x: Tensor, delta: Tensor | None) -> tuple[Tensor, Tensor]:
        """The stream as (x, delta), (T, H) each, after this block. `delta` is overwritten."""
        kept = run.space.layer(self.index if run.for_backward else 0, run.tokens)
        self._until_attention(run, kept, x, delta)
        self._until_mlp(run, kept)
        run.operations.swiglu(kept["gate_up"], kept["act"][:, : self.down.inputs])
        out = run.space.shared("delta", run.tokens)
        self.down.forward(kept["act"], out, run.drop)
        if not (run.for_backward and run.space.keeps("qkv")):
            self._attended = None
        return kept["middle"], out

    def backward(self, run: Pass, gradient: Tensor, adapters: Adapters, further: bool) -> None:
        """`gradient`: (T, H+R), its first H columns the gradient of the stream after this block;
        they become the gradient before it (with `further`). Adds the adapters' gradients.
        """
        tokens, space, ops, drop = run.tokens, run.space, run.operations, run.drop
        kept = space.layer(self.index, tokens)
        width, inner = self.o.outputs, self.down.inputs
        narrow = space.shared("d_narrow", tokens)
        self._again(run, kept)

        d_act = space.shared("d_act", tokens)
        d_down = gradient[:, : width + self.down.rank]
        self.down.backward(d_down, d_act, drop)
        d_gate_up, act = space.shared("d_gate_up", tokens), kept["act"]
        act_again = None if space.keeps("act") else act[:, :inner]
        ops.swiglu_backward(d_act, kept["gate_up"], d_gate_up[:, : 2 * inner], act_again)
        if act_again is not None and self.down.used:
            self.down.narrow(act[:, :inner], act[:, inner:], drop)
        d_normed = narrow[:, :width]
        self.gate_up.backward(d_gate_up, d_normed, drop)
        normed = kept["normed_mlp"]
        adapters.add(
            Product(self.down, act[:, :inner], act[:, inner:], d_down),
            Product(self.gate_up, normed[:, :width], normed[:, width:], d_gate_up),
            drop,
        )
        epsilon = run.shape.norm_epsilon
        stream = gradient[:, :width]
        ops.norm_backward(d_normed, kept["middle"], None, self._norm_mlp, epsilon, stream)

        out, lse = self._attended_output()
        d_out = narrow[:, : self.o.inputs]
        d_o = gradient[:, : width + self.o.rank]
        self.o.backward(d_o, d_out, drop)
        q, k, v = self._heads(run, kept["qkv"])
        d_qkv = space.shared("d_qkv", tokens)
        into = d_qkv[:, : self.qkv.outputs].view(tokens, -1, run.shape.head_dim)
        run.attention.backward(d_out.view(q.shape), q, k, v, out, lse, run.cos, run.sin, into)
        d_normed = narrow[:, :width]
        self.qkv.backward(d_qkv, d_normed if further else None, drop)
        normed = kept["normed"]
        adapters.add(
            Product(self.o, out.view(tokens, -1), kept["o_rank"], d_o),
            Product(self.qkv, normed[:, :width], normed[:, width:], d_qkv),
            drop,
        )
        if further:
            ops.norm_backward(d_normed, kept["x"], None, self._norm, epsilon, stream)
        self._attended = None

    def _until_attention(
        self, run: Pass, kept: dict[str, Tensor], x: Tensor, delta: Tensor | None
    ) -> None:
        width = run.shape.hidden
        run.operations.add_norm(
            x, delta, None, self._norm, run.shape.norm_epsilon,
            kept["x"] if delta is not None else None, kept["normed"][:, :width],
        )  # fmt: skip
        self.qkv.forward(kept["normed"], kept["qkv"], run.drop)
        q, k, v = self._heads(run, kept["qkv"])
        both = kept["qkv"].view(run.tokens, -1, run.shape.head_dim)[:, : q.shape[1] + k.shape[1]]
        run.operations.rotate(both, run.cos, run.sin)
        self._attended = run.attention.forward(q, k, v)

    def _until_mlp(self, run: Pass, kept: dict[str, Tensor]) -> None:
        out, _ = self._attended_output()
        delta = run.space.shared("delta", run.tokens)
        self.o.forward_apart(out.view(run.tokens, -1), kept["o_rank"], delta, run.drop)
        width = run.shape.hidden
        run.operations.add_norm(
            kept["x"], delta, None, self._norm_mlp, run.shape.norm_epsilon,
            kept["middle"], kept["normed_mlp"][:, :width],
        )  # fmt: skip
        self.gate_up.forward(kept["normed_mlp"], kept["gate_up"], run.drop)

    def _again(self, run: Pass, kept: dict[str, Tensor]) -> None:
        """Compute again what the forward pass did not keep, all but SwiGLU."""
        if not run.space.keeps("qkv"):
            self._until_attention(run, kept, kept["x"], None)
            self._until_mlp(run, kept)
            return
        if run.space.keeps("normed"):
            return
        width, epsilon = run.shape.hidden, run.shape.norm_epsilon
        for name, source, weight, group in (
            ("normed", "x", self._norm, self.qkv),
            ("normed_mlp", "middle", self._norm_mlp, self.gate_up),
        ):
            normed = kept[name]
            run.operations.add_norm(
                kept[source], None, None, weight, epsilon, None, normed[:, :width]
            )
            if group.used:
                group.narrow(normed[:, :width], normed[:, width:], run.drop)

    def _heads(self, run: Pass, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, Hq, D), (T, Hk, D), (T, Hk, D), views of qkv."""
        shape = run.shape
        heads = qkv.view(run.tokens, -1, shape.head_dim)
        q, k, v = heads.split((shape.heads, shape.kv_heads, shape.kv_heads), dim=1)
        return q, k, v

    def _attended_output(self) -> tuple[Tensor, Tensor]:
        assert self._attended is not None
        return self._attended


def block_parameters(layer: Any) -> list[list[Parameter]]:
    """The adapters of a layer by group, in the order of `Block.groups`."""
    attention, mlp = layer.self_attn, layer.mlp
    return [
        group_parameters((attention.q_proj, attention.k_proj, attention.v_proj)),
        group_parameters((attention.o_proj,)),
        group_parameters((mlp.gate_proj, mlp.up_proj)),
        group_parameters((mlp.down_proj,)),
    ]
