"""The next token from logits: penalties, bias, masks, temperature, truncation, one draw.

Every row is worked on by itself, so nobody's neighbours change a text; the draw is a number made on
the host from the seed and the token's place, so it does not depend on the device's generator either.
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

_MASK = (1 << 64) - 1


def draw(seed: int, place: int) -> float:
    """A uniform number in [0, 1) for token `place` of a choice with `seed` (splitmix64)."""
    z = (seed * 0x9E3779B97F4A7C15 + (place + 1) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)


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
        index = torch.tensor(special, device=logits.device)
        chosen = _choose_each(logits.index_select(0, index).float(), [rows[i] for i in special])
        tokens.index_copy_(0, index, chosen)
    return tokens


def _choose_each(logits: Tensor, rows: list[Choosing]) -> Tensor:
    for i, row in enumerate(rows):
        _adjust(logits[i], row)
    tokens = logits.argmax(-1)
    # Each row takes the way its own settings ask for, whatever its neighbours need.
    for way in (_draw_any, _draw_truncated):
        which = [
            i
            for i, row in enumerate(rows)
            if row.sampling.temperature > 0 and _truncates(row.sampling) == (way is _draw_truncated)
        ]
        if which:
            index = torch.tensor(which, device=logits.device)
            drawn = way(logits.index_select(0, index), [rows[i] for i in which])
            tokens.index_copy_(0, index, drawn)
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
                torch.tensor(ids, device=logits.device),
                torch.tensor(values, device=logits.device),
            )
        logits.index_add_(0, *row.bias)
    if row.allowed is not None:
        logits.masked_fill_(~row.allowed.to(logits.device, non_blocking=True), float("-inf"))
        row.allowed = None


def _history(logits: Tensor, row: Choosing) -> tuple[Tensor, Tensor]:
    if row.counts is None or row.seen is None:
        row.counts = torch.zeros_like(logits)
        row.seen = torch.zeros_like(logits, dtype=torch.bool)
        row.seen[torch.tensor(row.prompt, device=logits.device)] = True
    return row.counts, row.seen


def _draw_any(logits: Tensor, rows: list[Choosing]) -> Tensor:
    """Inverse of the cumulative distribution at one uniform number a row."""
    u, heat = _columns(logits, [(draw(r.seed, r.place), r.sampling.temperature) for r in rows])
    cumulative = (logits / heat).softmax(-1).cumsum(-1)
    at = torch.searchsorted(cumulative, u * cumulative[:, -1:], right=True)
    return at.squeeze(1).clamp_(max=logits.shape[1] - 1)


def _draw_truncated(logits: Tensor, rows: list[Choosing]) -> Tensor:
    """The same over the tokens that top-k, top-p and min-p leave, best first."""
    vocabulary = logits.shape[1]
    u, heat, top_k, top_p, min_p = _columns(
        logits,
        [
            (
                draw(r.seed, r.place),
                r.sampling.temperature,
                float(r.sampling.top_k or vocabulary),
                r.sampling.top_p,
                r.sampling.min_p,
            )
            for r in rows
        ],
    )
    probabilities, order = (logits / heat).softmax(-1).sort(-1, descending=True)
    before = probabilities.cumsum(-1) - probabilities
    within_k = torch.arange(vocabulary, device=logits.device) < top_k
    mass = torch.where(within_k, probabilities, 0).sum(-1, keepdim=True)
    kept = within_k & (before < top_p * mass) & (probabilities >= min_p * probabilities[:, :1])
    cumulative = torch.where(kept, probabilities, 0).cumsum(-1)
    at = torch.searchsorted(cumulative, u * cumulative[:, -1:], right=True)
    return order.gather(1, at.clamp_(max=vocabulary - 1)).squeeze(1)


def _columns(logits: Tensor, values: list[tuple[float, ...]]) -> list[Tensor]:
    """Host numbers, one tuple a row, as (B, 1) columns on the logits' device."""
    table = torch.tensor(values, dtype=torch.float32).to(logits.device, non_blocking=True)
    return [table[:, i : i + 1] for i in range(table.shape[1])]


def _truncates(sampling: Sampling) -> bool:
    return bool(sampling.top_k or sampling.top_p < 1 or sampling.min_p > 0)
