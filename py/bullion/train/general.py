"""The general step: any decoder that Transformers and PEFT load, exact, not the fastest.

Linear layers run over the whole pack and attention runs record by record where the architecture
allows it; otherwise every record is a pass of its own. Which of the two holds is tried on the model
itself, not assumed. It chooses no records and owns no optimiser.

Legend: T = tokens of a pack, S = trained positions, H = hidden size, V = vocabulary.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bullion.contract.recipe import TrainSpec
from bullion.data.packing import Pack
from bullion.data.supervise import IGNORED
from bullion.train.step import Recompute

LOGITS_BYTES = {
    "cuda": 256 << 20,
    "cpu": 16 << 20,
}  # fp32 logits alive at once; a CPU keeps them near
_names = itertools.count()


class GeneralStepper:
    """Stepper over a PEFT model as it stands. `packs_records` says whether records share a pass."""

    def __init__(
        self, peft_model: Any, spec: TrainSpec, device: torch.device, recompute: Recompute
    ) -> None:
        self.model: nn.Module = peft_model
        self.base: Any = peft_model.get_base_model()
        self.device = device
        self._cast = None
        if spec.precision.dtype != "fp32" and not spec.precision.pure_bf16 and device.type != "cpu":
            self._cast = torch.bfloat16
        self._lengths: tuple[int, ...] = ()  # of the pack being computed, for attention and noise
        self._noise = spec.optimizer.neftune_noise_alpha
        if self._noise:
            self.base.get_input_embeddings().register_forward_hook(self._add_noise)
        if recompute != "none":
            new = getattr(self.base, "activation_checkpointing_enable", None)
            (new or self.base.gradient_checkpointing_enable)({"use_reentrant": False})
            self.base.enable_input_require_grads()
        self.model.eval()
        self._plain_head = self._head_is_plain()
        self.packs_records = self._attend_by_record()

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]

    def accumulate(self, pack: Pack, trained_tokens: int) -> Tensor:
        self.model.train()
        total = torch.zeros((), device=self.device)
        for part in self._passes(pack):
            total += self._forward_backward(part, 1.0 / trained_tokens)
        return total

    @torch.no_grad()
    def evaluate(self, pack: Pack) -> tuple[Tensor, Tensor]:
        self.model.eval()
        loss = torch.zeros((), device=self.device)
        right = torch.zeros((), device=self.device, dtype=torch.int64)
        for part in self._passes(pack):
            at, targets, part = self._trained(part)
            if not len(at):
                continue
            with self._precision(part.lengths):
                for chunk, wanted in zip(*self._logits(part, at, targets), strict=True):
                    logits = chunk().float()
                    loss += F.cross_entropy(logits, wanted, reduction="sum")
                    right += (logits.argmax(-1) == wanted).sum()
        return loss, right

    def _forward_backward(self, part: Pack, weight: float) -> Tensor:
        at, targets, part = self._trained(part)
        total = torch.zeros((), device=self.device)
        if not len(at):
            return total
        with self._precision(part.lengths):
            if not self._plain_head:
                logits = self._whole_logits(part, at)
                loss = F.cross_entropy(logits.float(), targets, reduction="sum") * weight
                loss.backward()
                return loss.detach()
            hidden = self._hidden(part)[0, at]  # (S, H)
            leaf = hidden.detach().requires_grad_()
            head = self.base.get_output_embeddings()
            for rows in torch.arange(len(at)).split(self._rows(head)):
                piece = slice(int(rows[0]), int(rows[-1]) + 1)
                logits = head(leaf[piece]).float()
                loss = F.cross_entropy(logits, targets[piece], reduction="sum") * weight
                loss.backward()
                total += loss.detach()
            hidden.backward(leaf.grad)
        return total

    def _trained(self, pack: Pack) -> tuple[Tensor, Tensor, Pack]:
        """Positions whose next token is trained (S,), those tokens (S,), the pack: on the device.

        Looked for on the host, where it costs no waiting.
        """
        following = pack.labels[1:]
        at = (following != IGNORED).nonzero()[:, 0]
        found = Pack(at, following[at], at, ()).to(self.device)
        return found.input_ids, found.labels, pack.to(self.device)

    def _logits(
        self, part: Pack, at: Tensor, targets: Tensor
    ) -> tuple[list[Callable[[], Tensor]], Sequence[Tensor]]:
        """Pieces of the logits at `at`, each made when called, and their targets."""
        if not self._plain_head:
            return [lambda: self._whole_logits(part, at)], [targets]
        hidden = self._hidden(part)[0, at]
        head = self.base.get_output_embeddings()
        size = self._rows(head)
        return [partial(head, piece) for piece in hidden.split(size)], targets.split(size)

    def _hidden(self, part: Pack) -> Tensor:
        """(1, T, H), after the last norm."""
        return self.base.get_decoder()(
            input_ids=part.input_ids[None],
            position_ids=part.positions[None],
            use_cache=False,
        ).last_hidden_state

    def _whole_logits(self, part: Pack, at: Tensor) -> Tensor:
        """(S, V) by the model's own forward, whatever it does to its logits."""
        return self.base(
            input_ids=part.input_ids[None],
            position_ids=part.positions[None],
            use_cache=False,
            logits_to_keep=at,
        ).logits[0]

    def _rows(self, head: Any) -> int:
        vocabulary = (
            getattr(head, "out_features", None) or self.base.config.get_text_config().vocab_size
        )
        return max(16, LOGITS_BYTES[self.device.type] // (4 * vocabulary))

    def _passes(self, pack: Pack) -> Iterator[Pack]:
        if self.packs_records or len(pack.lengths) == 1:
            yield pack
            return
        start = 0
        for length in pack.lengths:
            part = slice(start, start + length)
            yield Pack(pack.input_ids[part], pack.labels[part], pack.positions[part], (length,))
            start += length

    @contextlib.contextmanager
    def _precision(self, lengths: tuple[int, ...]) -> Iterator[None]:
        self._lengths = lengths
        with contextlib.ExitStack() as stack:
            if self._cast is not None:
                stack.enter_context(torch.autocast(self.device.type, self._cast))
            yield

    def _add_noise(self, module: nn.Module, _: Any, output: Tensor) -> Tensor:
        """NEFTune: uniform noise of alpha / sqrt(record length · H), a record at a time."""
        if not self.model.training or not self._noise:
            return output
        noise = torch.zeros_like(output)
        start = 0
        for length in self._lengths:
            reach = self._noise / (length * output.shape[-1]) ** 0.5
            noise[:, start : start + length].uniform_(-reach, reach)
            start += length
        return output + noise

    @torch.no_grad()
    def _head_is_plain(self) -> bool:
        """Whether logits are output layer ∘ decoder; some models scale or cap them after that."""
        probe = _probe(self.base, (7,), self.device)
        at = torch.arange(7, device=self.device)
        with self._precision(probe.lengths):
            try:
                split = self.base.get_output_embeddings()(self._hidden(probe)[0])
            except (AttributeError, TypeError):
                return False
            return _near(split, self._whole_logits(probe, at))

    @torch.no_grad()
    def _attend_by_record(self) -> bool:
        """Switch to attention by record; switch back and return False unless a pack proves it right."""
        from transformers import AttentionInterface, AttentionMaskInterface

        probe = _probe(self.base, (5, 9, 3), self.device)
        at = torch.arange(len(probe.input_ids), device=self.device)
        self.packs_records = False
        alone = []
        for part in self._passes(probe):
            with self._precision(part.lengths):
                alone.append(self._whole_logits(part, at[: len(part.input_ids)]))
        before = self.base.config._attn_implementation
        name = f"bullion_by_record_{next(_names)}"
        AttentionInterface.register(name, self._attention)
        AttentionMaskInterface.register(name, lambda *_, **__: None)
        try:
            self.base.set_attn_implementation(name)
            with self._precision(probe.lengths):
                packed = self._whole_logits(probe, at)
            if _near(packed, torch.cat(alone)):
                return True
        except (ValueError, TypeError, RuntimeError, AttributeError, NotImplementedError):
            pass  # an architecture of its own kind: one pass a record
        self.base.set_attn_implementation(before)
        return False

    def _attention(
        self,
        module: nn.Module,
        query: Tensor,  # (1, heads, T, head)
        key: Tensor,  # (1, kv heads, T, head)
        value: Tensor,
        attention_mask: Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        sliding_window: int | None = None,
        **other: Any,
    ) -> tuple[Tensor, None]:
        if other.get("softcap") is not None or other.get("s_aux") is not None:
            raise NotImplementedError("attention with capped scores or sinks")
        parts = []
        grouped = query.shape[1] != key.shape[1]
        for q, k, v in zip(
            query.split(self._lengths, 2),
            key.split(self._lengths, 2),
            value.split(self._lengths, 2),
            strict=True,
        ):
            length = q.shape[2]
            band = None
            if sliding_window is not None and length > sliding_window:
                ahead = torch.arange(length, device=q.device)
                gap = ahead[:, None] - ahead[None, :]
                band = (gap >= 0) & (gap < sliding_window)
            parts.append(
                F.scaled_dot_product_attention(
                    q,
                    k,
                    v,
                    attn_mask=band,
                    dropout_p=dropout,
                    is_causal=band is None,
                    scale=scaling,
                    enable_gqa=grouped,
                )
            )
        return torch.cat(parts, 2).transpose(1, 2), None


def _probe(base: Any, lengths: tuple[int, ...], device: torch.device) -> Pack:
    vocabulary = base.get_input_embeddings().weight.shape[0]
    ids = (torch.arange(sum(lengths)) * 7919 + 11) % vocabulary
    positions = torch.cat([torch.arange(length) for length in lengths])
    return Pack(ids.to(device), ids.to(device), positions.to(device), lengths)


def _near(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding: a wrong mask or a scaled logit is off by far more."""
    tolerance = 1e-3 if a.dtype == torch.float32 else 5e-2
    return bool((a - b).float().norm() <= tolerance * b.float().norm())
