"""Carries a plan out: KV memory, batches, forward passes, sampling. The CPU's runner.

It owns the tensors of one base and nothing of requests. `launch` starts a step and `read` waits for
its tokens; on the CPU the work is done when launch returns, on CUDA (cuda_runner.py) it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from bullion.engine.adapters import AdapterSite
from bullion.engine.attention import Span
from bullion.engine.forward import Batch, Llama
from bullion.engine.linear import LoraRows
from bullion.engine.logprobs import Scores, score
from bullion.engine.sampling import choose
from bullion.engine.scheduler import Piece, Plan
from bullion.engine.sequence import Sequence
from bullion.models.llama import LlamaWeights

LOGIT_ROWS = 256  # prompt positions scored at once: rows × vocabulary in fp32


@dataclass(frozen=True)
class Sampled:
    """A sequence's new token; `scores` row `row` is about it, where it was asked for."""

    sequence: Sequence
    token: int
    scores: Scores | None
    row: int


@dataclass(frozen=True)
class PromptScored:
    """Scores of the prompt tokens from `start` on."""

    sequence: Sequence
    start: int
    scores: Scores


@dataclass
class Result:
    """What a step brought, on the host."""

    prompts: list[PromptScored] = field(default_factory=list)
    prefilled: list[Sequence] = field(default_factory=list)  # prompts that are complete now
    sampled: list[Sampled] = field(default_factory=list)


@dataclass(frozen=True)
class Drawn:
    """Tokens that a launched step has drawn, still on the device."""

    sequences: list[Sequence]
    tokens: Tensor  # (n,) int64
    logits: Tensor  # (n, V), valid until the next step is launched


class Launched(Protocol):
    def read(self) -> Result: ...


class Runner(Protocol):
    """`lag`: steps that may be launched before the first one's tokens are read."""

    lag: int

    @property
    def cold(self) -> bool:
        """Whether a later request would have to wait for something that `warm` can do now."""

    def warm(self) -> None:
        """Makes one such thing ready, for moments in which nobody asks for anything."""

    def launch(self, plan: Plan) -> Launched: ...
    def site(self, layer: int, kind: str) -> AdapterSite: ...
    def reserve_adapter(self, slot: int, rank: int) -> None:
        """Makes room for an adapter in `slot`; comes before the sites are filled."""


@dataclass(frozen=True)
class _Done:
    result: Result

    def read(self) -> Result:
        return self.result


class CpuRunner:
    """One forward pass a step over all its rows, prompts and decoding sequences together."""

    lag = 0
    cold = False  # nothing is compiled here

    def __init__(self, weights: LlamaWeights, pages: int, page_tokens: int) -> None:
        shape = weights.shape
        self._model = Llama(weights)
        self._page_tokens = page_tokens
        self._size = (shape.layers, pages, page_tokens, 2 * shape.kv_heads, shape.head_dim)

    def prepare(self) -> Iterator[None]:
        """Packs the weights, then takes the memory for keys and values; comes before all else, yields."""
        yield from self._model.prepare()
        self._cache = torch.zeros(self._size)  # what is masked must be a number

    def site(self, layer: int, kind: str) -> AdapterSite:
        return self._model.site(layer, kind)

    def warm(self) -> None:
        """Never cold."""

    def reserve_adapter(self, slot: int, rank: int) -> None:
        """On the CPU an adapter has memory of its own."""

    @torch.inference_mode()
    def launch(self, plan: Plan) -> Launched:
        for sequence, pages in plan.park:
            sequence.parked = self._cache[:, pages]  # indexing by a list copies
        for sequence in plan.restore:
            kept = sequence.parked.shape[1]
            self._cache[:, sequence.pages[:kept]] = sequence.parked
            sequence.parked = None
        work = list(plan.pieces)
        work += [Piece(s, s.computed - 1, s.computed, True) for s in plan.decode]
        result = Result(prefilled=[piece.sequence for piece in plan.pieces if piece.last])
        if work:
            self._compute(work, len(plan.pieces), result)
        return _Done(result)

    def _compute(self, work: list[Piece], prompts: int, result: Result) -> None:
        batch = self._batch(work, prompts)
        hidden = self._model.hidden(batch, self._cache)
        drawing: list[Sequence] = []
        rows: list[int] = []
        for piece, span in zip(work, batch.spans, strict=True):
            sequence = piece.sequence
            if sequence.prompt_logprobs and piece.start < sequence.prompt_length:
                result.prompts += self._score_prompt(piece, hidden[span.start : span.end])
            if piece.last and sequence.max_new > 0:
                drawing.append(sequence)
                rows.append(span.end - 1)
        if not drawing:
            return
        if len(rows) < hidden.shape[0]:
            hidden = hidden[rows]
        logits = self._model.logits(hidden)
        tokens = choose(logits, [sequence.choosing for sequence in drawing])
        wanted = [s.alternatives for s in drawing if s.alternatives is not None]
        scores = score(logits, tokens, max(wanted)) if wanted else None
        for row, (sequence, token) in enumerate(zip(drawing, tokens.tolist(), strict=True)):
            about = scores if sequence.alternatives is not None else None
            result.sampled.append(Sampled(sequence, token, about, row))

    def _score_prompt(self, piece: Piece, hidden: Tensor) -> list[PromptScored]:
        """Each row predicts the next token; the last row of the prompt predicts an answer's."""
        sequence = piece.sequence
        end = min(piece.end, sequence.prompt_length - 1)
        found = []
        for start in range(piece.start, end, LOGIT_ROWS):
            stop = min(end, start + LOGIT_ROWS)
            logits = self._model.logits(hidden[start - piece.start : stop - piece.start])
            targets = torch.tensor(sequence.tokens[start + 1 : stop + 1])
            scores = score(logits, targets, sequence.alternatives or 0)
            found.append(PromptScored(sequence, start + 1, scores))
        return found

    def _batch(self, work: list[Piece], prompts: int) -> Batch:
        """The first `prompts` pieces are of prompts, the others one decoding row each."""
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        spans: list[Span] = []
        per_page = self._page_tokens
        for piece in work:
            pages = piece.sequence.pages
            start = len(tokens)
            tokens += piece.sequence.tokens[piece.start : piece.end]
            positions += range(piece.start, piece.end)
            slots += [
                pages[at // per_page] * per_page + at % per_page
                for at in range(piece.start, piece.end)
            ]
            held = pages[: -(-piece.end // per_page)]
            prompt = len(spans) < prompts
            spans.append(Span(start, len(tokens), piece.end, held, prompt))
        lora = lora_rows([(s.start, s.end) for s in spans], [p.sequence.slot for p in work])
        return Batch(
            torch.tensor(tokens), torch.tensor(positions), torch.tensor(slots), spans, lora
        )


def lora_rows(spans: Many[tuple[int, int]], slots: Many[int | None]) -> LoraRows | None:
    """The rows of each adapter; None when nobody uses one."""
    used = dict.fromkeys(slot for slot in slots if slot is not None)
    if not used:
        return None
    if len(used) == 1 and None not in slots:
        return LoraRows([(next(iter(used)), None)])
    groups: list[tuple[int, Tensor | None]] = []
    for slot in used:
        rows = [
            row
            for (start, end), own in zip(spans, slots, strict=True)
            if own == slot
            for row in range(start, end)
        ]
        groups.append((slot, torch.tensor(rows)))
    return LoraRows(groups)
