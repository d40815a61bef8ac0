"""Pieces of prompts on the GPU: one packed pass over all of them, eagerly.

Attention reads keys and values from the pages, the ones that this very pass has written among them,
so a piece may begin anywhere in its prompt. It owns no memory.
"""

from __future__ import annotations

from collections.abc import Sequence as Many

import torch
from torch import Tensor

from bullion.engine.cuda_llama import Attend, CudaLlama, Rows
from bullion.engine.logprobs import score
from bullion.engine.runner import LOGIT_ROWS, Drawn, PromptScored
from bullion.engine.sampling import choose
from bullion.engine.scheduler import Piece
from bullion.engine.transfer import scores_to_host, to_device


class PromptPass:
    """`last` and `cache` as in graphs.py."""

    def __init__(self, model: CudaLlama, last: Tensor, cache: Tensor, page_tokens: int) -> None:
        self._model, self._last, self._cache, self._page_tokens = model, last, cache, page_tokens
        self._device = last.device

    def compute(self, pieces: Many[Piece]) -> tuple[Drawn | None, list[PromptScored]]:
        """First tokens of the prompts that are complete now, and scores of prompt tokens."""
        rows, attend, ends = self._rows(pieces)
        adapters = any(piece.sequence.slot is not None for piece in pieces)
        hidden = self._model.hidden(rows, self._last, self._cache, attend, adapters)
        scored: list[PromptScored] = []
        for piece, end in zip(pieces, ends, strict=True):
            if piece.sequence.prompt_logprobs and piece.start < piece.sequence.prompt_length:
                scored += self._score(piece, hidden[end - (piece.end - piece.start) : end])
        starting = [
            (piece.sequence, end - 1)
            for piece, end in zip(pieces, ends, strict=True)
            if piece.last and piece.sequence.max_new > 0
        ]
        if not starting:
            return None, scored
        sequences = [sequence for sequence, _ in starting]
        where = to_device([row for _, row in starting], self._device)
        logits = self._model.logits(hidden.index_select(0, where))
        chosen = choose(logits, [sequence.choosing for sequence in sequences])
        states = to_device([sequence.state for sequence in sequences], self._device)
        self._last.index_copy_(0, states, chosen)
        return Drawn(sequences, chosen, logits), scored

    def _rows(self, pieces: Many[Piece]) -> tuple[Rows, Attend, list[int]]:
        """The rows, how they attend, and after which row each piece ends."""
        given: list[int] = []
        columns: list[tuple[int, int, int, int]] = []  # state, position, place, slot
        sources: list[int] = []  # places of all keys that are attended to, sequence by sequence
        q_ends, k_ends = [0], [0]
        per_page = self._page_tokens
        for piece in pieces:
            sequence = piece.sequence
            places = [
                page * per_page + offset
                for page in sequence.pages[: -(-piece.end // per_page)]
                for offset in range(per_page)
            ][: piece.end]
            slot = -1 if sequence.slot is None else sequence.slot
            given += sequence.tokens[piece.start : piece.end]
            columns += [
                (sequence.state, at, places[at], slot) for at in range(piece.start, piece.end)
            ]
            sources += places
            q_ends.append(len(given))
            k_ends.append(len(sources))
        longest_q = max(piece.end - piece.start for piece in pieces)
        longest_k = max(piece.end for piece in pieces)
        n = len(given)
        # An even row length: each row then begins at a multiple of 16 bytes, whatever n is. Triton
        # builds its kernels anew for pointers that do not, and a user would wait for that.
        odd = [0] * (n % 2)
        numbers = [given, *map(list, zip(*columns, strict=True))]
        table = to_device([row + odd for row in numbers], self._device)[:, :n]
        source = to_device(sources, self._device)
        ends = to_device([q_ends, k_ends], self._device).to(torch.int32)

        def attend(layer: int, queries: Tensor, out: Tensor) -> None:
            keys = self._cache[layer, 0].index_select(0, source)
            values = self._cache[layer, 1].index_select(0, source)
            found = torch.ops.aten._flash_attention_forward(
                queries, keys, values, ends[0], ends[1], longest_q, longest_k, 0.0, True, False
            )
            out.copy_(found[0].reshape(n, -1))

        rows = Rows(table[0], table[1], table[2], table[3], table[4])
        return rows, attend, q_ends[1:]

    def _score(self, piece: Piece, hidden: Tensor) -> list[PromptScored]:
        """Each row predicts the next token; the last row of the prompt predicts an answer's."""
        sequence = piece.sequence
        end = min(piece.end, sequence.prompt_length - 1)
        found = []
        for start in range(piece.start, end, LOGIT_ROWS):
            stop = min(end, start + LOGIT_ROWS)
            logits = self._model.logits(hidden[start - piece.start : stop - piece.start])
            targets = to_device(sequence.tokens[start + 1 : stop + 1], self._device)
            scores = score(logits, targets, sequence.alternatives or 0)
            found.append(PromptScored(sequence, start + 1, scores_to_host(scores)))
        return found
