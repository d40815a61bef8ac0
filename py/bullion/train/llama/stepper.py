"""The Llama stepper: a pack through all blocks and back, gradients into PEFT's own parameters.

Nothing here waits for the device: what the host must know (lengths, trained positions) is read from
the pack while it is still on the host. It owns the fused weights, the flat adapter and the workspace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from bullion.contract.recipe import TrainSpec
from bullion.data.packing import Pack
from bullion.train.llama.block import Block, Pass, block_parameters
from bullion.train.llama.flat import FlatAdapter
from bullion.train.llama.fp8 import Fp8Linear
from bullion.train.llama.gradients import AdapterProducts, Adapters, AdapterTiles
from bullion.train.llama.launch import compiling
from bullion.train.llama.linear import Dropout, FusedLinear, LinearGroup
from bullion.train.llama.loss import loss_and_gradient, loss_and_hits, trained_positions
from bullion.train.llama.means import Means
from bullion.train.llama.memory import Workspace
from bullion.train.llama.shape import LlamaShape
from bullion.train.llama.supported import decoder
from bullion.train.step import Recompute


class LlamaStepper:
    """A `bullion.train.step.Stepper`. Takes the model's linear weights over (they become views).

    Packs should come on the host: one that is on the device costs a synchronisation.
    """

    def __init__(
        self,
        peft_model: nn.Module,
        spec: TrainSpec,
        device: torch.device,
        recompute: Recompute = "none",
        means: Means | None = None,
    ) -> None:
        model = decoder(peft_model)
        self.shape = LlamaShape.of(model.config)
        means = means or Means.of(device)
        self._device = device
        self._names = [(n, p) for n, p in peft_model.named_parameters() if p.requires_grad]
        self._rotary: Any = model.model.rotary_emb
        self._embedding: Tensor = model.model.embed_tokens.weight.data
        self._head: Tensor = model.lm_head.weight.data
        self._norm: Tensor = model.model.norm.weight.data
        linear: Callable[[Sequence[Any]], LinearGroup] = partial(FusedLinear, spare=means.spare)
        if spec.precision.compute_dtype == "fp8":
            linear = partial(Fp8Linear, spare=means.spare, operations=means.operations)
        layers = list(model.model.layers)
        groups = [group for layer in layers for group in block_parameters(layer)]
        self._flat = FlatAdapter(groups, device)
        self._means = means
        self._blocks: list[Block] = []
        for index, layer in enumerate(layers):
            self._blocks.append(Block(layer, index, linear))
            if device.type == "cuda":
                torch.cuda.empty_cache()  # the weights it had before must not be held beside the new
        self._adapters: Adapters = AdapterProducts(self._flat)
        if means.tiled_adapters and AdapterTiles.fits(self._blocks[0].groups):
            self._adapters = AdapterTiles(self._flat, device)
        ranks = self._blocks[0].ranks  # of every layer: `obstacle` saw to it
        self._space = Workspace(self.shape, ranks, recompute, self._embedding.dtype, device)
        self._dropout = any(
            slot.dropout for b in self._blocks for g in b.groups for slot in g.slots
        )
        if device.type == "cuda":
            self.compile()

    def trainable(self) -> list[tuple[str, Parameter]]:
        return list(self._names)

    @torch.no_grad()
    def accumulate(self, pack: Pack, trained_tokens: int) -> Tensor:
        rows, targets = trained_positions(pack)
        if rows.shape[0] == 0:
            return torch.zeros((), dtype=torch.float32, device=self._device)
        drop = self._draw_dropout()
        loss = self._there_and_back(pack, rows, targets, trained_tokens, drop, self._blocks)
        self._flat.publish()
        return loss

    @torch.no_grad()
    def compile(self) -> None:
        """Have every kernel of a step compiled, side by side; changes nothing that is trained."""
        zeros = torch.zeros(70, dtype=torch.int64)
        pack = Pack(zeros, zeros, zeros, (70,))
        rows, targets = trained_positions(pack)
        with compiling():  # the second block differs from the first, the others do not
            self._there_and_back(pack, rows, targets, 1, None, self._blocks[:2])
        self._flat.gradients.zero_()

    def _there_and_back(
        self,
        pack: Pack,
        rows: Tensor,
        targets: Tensor,
        trained_tokens: int,
        drop: Dropout | None,
        blocks: list[Block],
    ) -> Tensor:
        run, x, delta = self._forward(pack, drop, blocks, for_backward=True)
        rows, targets = self._on_device(rows), self._on_device(targets)
        chosen, normed = self._last_norm(run, x, delta, rows)
        loss = loss_and_gradient(
            normed,
            targets,
            self._head,
            1.0 / trained_tokens,
            self._space.logits,
            self._means.operations,
        )
        gradient = self._space.shared("gradient", run.tokens)
        stream = gradient[:, : self.shape.hidden]
        stream.zero_()
        run.operations.norm_backward(
            normed, chosen, rows, self._norm, self.shape.norm_epsilon, stream
        )
        for block in reversed(blocks):
            if drop is not None:
                drop.layer = block.index
            block.backward(run, gradient, self._adapters, further=block.index > 0)
        return loss

    @torch.no_grad()
    def evaluate(self, pack: Pack) -> tuple[Tensor, Tensor]:
        rows, targets = trained_positions(pack)
        if rows.shape[0] == 0:
            zero = torch.zeros((), device=self._device)
            return zero, zero.long()
        run, x, delta = self._forward(pack, None, self._blocks, for_backward=False)
        _, normed = self._last_norm(run, x, delta, self._on_device(rows))
        return loss_and_hits(normed, self._on_device(targets), self._head, self._space.logits)

    def _forward(
        self, pack: Pack, drop: Dropout | None, blocks: list[Block], for_backward: bool
    ) -> tuple[Pass, Tensor, Tensor]:
        tokens = pack.input_ids.shape[0]
        self._space.reserve(tokens)
        cos, sin = self._rotary_tables(self._on_device(pack.positions))
        run = Pass(
            tokens=tokens,
            shape=self.shape,
            space=self._space,
            operations=self._means.operations,
            attention=self._means.attention(pack.lengths, self._device),
            cos=cos,
            sin=sin,
            drop=drop,
            for_backward=for_backward,
        )
        x = self._space.layer(0, tokens)["x"]
        torch.index_select(self._embedding, 0, self._on_device(pack.input_ids), out=x)
        delta: Tensor | None = None
        for block in blocks:
            self._adapters.refresh(block.groups)
            if drop is not None:
                drop.layer = block.index
            x, delta = block.forward(run, x, delta)
        assert delta is not None
        return run, x, delta

    def _last_norm(
        self, run: Pass, x: Tensor, delta: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The stream at `rows` and its norm, (C, H) each."""
        chosen = self._space.shared("chosen", rows.shape[0])
        normed = self._space.shared("chosen_normed", rows.shape[0])
        epsilon = self.shape.norm_epsilon
        run.operations.add_norm(x, delta, rows, self._norm, epsilon, chosen, normed)
        return chosen, normed

    def _rotary_tables(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(T, D/2) each, by the model's own rule, rounded to its dtype as Transformers does."""
        half = self.shape.head_dim // 2
        cos, sin = self._rotary(self._embedding[:1], positions[None])
        return cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous()

    def _draw_dropout(self) -> Dropout | None:
        if not self._dropout:
            return None
        seed = int(torch.randint(0, 2**62, (), dtype=torch.int64))
        return Dropout(seed, self._device)

    def _on_device(self, tensor: Tensor) -> Tensor:
        if tensor.device.type == self._device.type:
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)
