"""The next token from logits: penalties, bias, masks, temperature, truncation, one draw.

Every row is worked on by itself, so nobody's neighbours change a text; the draw is a number made on
the host from the seed and the token's place, so it does not depend on the device's generator either.
On the GPU the draw itself is a kernel of its own (drawing_kernels.py).
Definitions: presence and frequency penalty as OpenAI has them (generated tokens only), repetition
penalty as transformers (prompt and generated), top-k, top-p and min-p after temperature.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bullion.contract.worker import Sampling
from bullion.engine.transfer import to_device

_MASK = (1 << 64) - 1


def draw(seed: int, place: int) -> float:
    """A uniform number in [0, 1) for token `place` of a choice with `seed` (splitmix64)."""
    z = (seed * 0x9E3779B97F4A7C15 + (place + 1) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 40) / (1 << 24)  # exact in fp32, and there below 1


def choice_seed(seed: int | None, index: int) -> int:
    """The seed of choice `index`; without one, a fresh random number."""
    return random.getrandbits(63) if seed is None else (seed + index) & _MASK


@dataclass
class Choosing:
    """How one choice draws its tokens: its settings, its seed and what it has written so far."""

    sampling: Sampling
    seed: int
    prompt: list[int]
    counts: Tensor | None = None  # (V,) how often each token was generated; made when needed
    seen: Tensor | None = None  # (V,) bool: in the prompt or generated
    bias: tuple[Tensor, Tensor] | None = None  # ids, values
    allowed: Tensor | None = None  # (V,) bool for the next token only: a grammar's mask
    place: int = 0  # tokens drawn so far other than by the bare arg-max
    plain: bool = field(init=False)  # greedy and nothing else: the arg-max of the logits

    def __post_init__(self) -> None:
        s = self.sampling
        self.plain = s.temperature == 0 and not self.penalised and not s.logit_bias

    @property
    def simple(self) -> bool:
        """Whether the next token is the arg-max of the logits as they are."""
        return self.plain and self.allowed is None

    @property
    def penalised(self) -> bool:
        s = self.sampling
        return bool(s.presence_penalty or s.frequency_penalty or s.repetition_penalty != 1.0)


def choose(logits: Tensor, rows: Sequence[Choosing]) -> Tensor:
    """One token a row: (B, V) → (B,) int64 on the logits' device. Does not wait for the device.

    Moves each row on by one place and counts its token, where that matters. `logits` stay.
    """
    tokens = logits.argmax(-1)
    special = [i for i, row in enumerate(rows) if not row.simple]
    if special:
        index = to_device(special, logits.device)
        chosen = _choose_each(logits.index_select(0, index).float(), [rows[i] for i in special])
        tokens.index_copy_(0, index, chosen)
    return tokens


def _choose_each(logits: Tensor, rows: list[Choosing]) -> Tensor:
    for i, row in enumerate(rows):
        _adjust(logits[i], row)
    tokens = logits.argmax(-1)
    which = [i for i, row in enumerate(rows) if row.sampling.temperature > 0]
    if which:
        index = to_device(which, logits.device)
        numbers = [_numbers(rows[i], logits.shape[1]) for i in which]
        settings = to_device(numbers, logits.device, torch.float32)
        tokens.index_copy_(0, index, draw_rows(logits.index_select(0, index), settings))
    for i, row in enumerate(rows):
        row.place += 1
        if row.counts is not None and row.seen is not None:
            token = tokens[i : i + 1]
            row.counts.index_add_(0, token, torch.ones(1, device=logits.device))
            row.seen.index_fill_(0, token, True)
    return tokens


def _adjust(logits: Tensor, row: Choosing) -> None:
    """Penalties, bias and mask, in place on one row (V,)."""
    s = row.sampling
    if row.penalised:
        counts, seen = _history(logits, row)
        if s.repetition_penalty != 1.0:
            penalised = torch.where(
                logits > 0, logits / s.repetition_penalty, logits * s.repetition_penalty
            )
            logits.copy_(torch.where(seen, penalised, logits))
        logits.sub_(counts * s.frequency_penalty).sub_((counts > 0) * s.presence_penalty)
    if s.logit_bias:
        if row.bias is None:
            ids = [int(token) for token in s.logit_bias]
            values = [float(value) for value in s.logit_bias.values()]
            row.bias = (
                to_device(ids, logits.device),
                to_device(values, logits.device, torch.float32),
            )
        logits.index_add_(0, *row.bias)
    if row.allowed is not None:
        logits.masked_fill_(~row.allowed.to(logits.device, non_blocking=True), float("-inf"))
        row.allowed = None


def _history(logits: Tensor, row: Choosing) -> tuple[Tensor, Tensor]:
    if row.counts is None or row.seen is None:
        row.counts = torch.zeros_like(logits)
        row.seen = torch.zeros_like(logits, dtype=torch.bool)
        row.seen.index_fill_(0, to_device(row.prompt, logits.device), True)
    return row.counts, row.seen


def draw_rows(logits: Tensor, settings: Tensor) -> Tensor:
    """(n, V) fp32 → (n,) int64: the inverse of the cumulative distribution at u, over the tokens that
    top-k, top-p and min-p leave, in the order of the vocabulary. Uses `logits` up.

    `settings` (n, 5) fp32 are u, temperature, top_k (V: all), top_p, min_p.
    """
    if logits.is_cuda:
        from bullion.engine import drawing_kernels

        tokens = torch.empty(logits.shape[0], dtype=torch.int64, device=logits.device)
        drawing_kernels.draw(logits, settings, tokens)
        return tokens
    u, heat, top_k, top_p, min_p = settings.split(1, dim=1)
    weights = (logits / heat).softmax(-1)
    floor = torch.zeros_like(u)
    if bool((top_k < logits.shape[1]).any() or (top_p < 1).any()):
        # rows that keep all of it get 0 here, whatever their neighbours need
        best = weights.sort(-1, descending=True).values
        within_k = torch.arange(best.shape[1]) < top_k
        mass = torch.where(within_k, best, 0).sum(-1, keepdim=True)
        kept = within_k & (best.cumsum(-1) - best < top_p * mass)
        last = torch.where(kept, best, 2.0).amin(-1, keepdim=True)
        narrow = (top_k < logits.shape[1]) | (top_p < 1)
        floor = torch.where(narrow, last, 0.0)
    floor = floor.maximum(min_p * weights.amax(-1, keepdim=True))
    cumulative = torch.where(weights >= floor, weights, 0).cumsum(-1)
    at = torch.searchsorted(cumulative, u * cumulative[:, -1:], right=True)
    return at.clamp_(max=logits.shape[1] - 1).squeeze(1)


def _numbers(row: Choosing, vocabulary: int) -> tuple[float, ...]:
    s = row.sampling
    top_k = float(min(s.top_k or vocabulary, vocabulary))
    return (draw(row.seed, row.place), s.temperature, top_k, s.top_p, s.min_p)
