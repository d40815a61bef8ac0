"""Carries a plan out on the GPU: prompts eagerly, decoding by one CUDA graph for each batch size.

A step is launched before the tokens of the one before are read: a row's token stays on the device,
goes into the next step there, and comes to the host in one copy a step, one step late.
It owns the KV pages' memory, the graphs and what the steps read. runner.py is its twin on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass

import torch
from torch import Tensor

from bullion.contract.worker import Sampling
from bullion.engine import kernels
from bullion.engine.adapters import AdapterSite
from bullion.engine.cuda_llama import Attend, CudaLlama, Rows
from bullion.engine.logprobs import Scores, score
from bullion.engine.runner import LOGIT_ROWS, Launched, PromptScored, Result, Sampled
from bullion.engine.sampling import Choosing, choose
from bullion.engine.scheduler import Piece, Plan
from bullion.engine.sequence import Sequence
from bullion.models.llama import LlamaWeights

_COLUMNS = 6  # given, states, positions, places, slots, lengths
_RING = 3  # host buffers in turn: a copy may still be on its way from the one before last
_PARTS = 2048  # programs that attention wants: each waits for pages most of its time

_GREEDY = Sampling(1, 0.0, 1.0, 0, 0.0, 1.0, 0.0, 0.0, {}, None, [], True)


def sizes(most: int) -> list[int]:
    """Batch sizes that get a graph, up to `most`."""
    small = [n for n in (1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64) if n < most]
    return [*small, *(n for n in range(80, most, 16)), most]


@dataclass
class _Wanted:
    """A launched step's tokens on their way to the host."""

    drawing: list[Sequence]
    tokens: Tensor  # host, pinned
    scores: Scores | None
    prompts: list[PromptScored]
    prefilled: list[Sequence]
    arrived: torch.cuda.Event

    def read(self) -> Result:
        self.arrived.synchronize()
        result = Result(self.prompts, self.prefilled)
        for row, (sequence, token) in enumerate(
            zip(self.drawing, self.tokens.tolist(), strict=True)
        ):
            about = self.scores if sequence.alternatives is not None else None
            result.sampled.append(Sampled(sequence, token, about, row))
        return result


class CudaRunner:
    lag = 1

    def __init__(
        self, weights: LlamaWeights, pages: int, page_tokens: int, max_running: int,
        prefill_tokens: int, graphs: bool,
    ) -> None:  # fmt: skip
        shape = weights.shape
        device, dtype = weights.embed.device, weights.embed.dtype
        self._model = CudaLlama(weights, max(max_running, prefill_tokens))
        self._page_tokens = page_tokens
        self._max_running = max_running
        self._prefill_tokens = prefill_tokens
        self._device = device
        size = (shape.layers, 2, pages, page_tokens, shape.kv_heads, shape.head_dim)
        self._cache = torch.zeros(size, device=device, dtype=dtype)
        self._slots = self._cache.flatten(2, 3)  # (layers, 2, slots, kv_heads, D)
        self._last = torch.zeros(max_running + 1, device=device, dtype=torch.int64)
        widest = min(pages, -(-shape.max_positions // page_tokens))
        self._tables = torch.zeros(max_running, widest, device=device, dtype=torch.int32)
        self._host_tables = [_pinned(max_running, widest, torch.int32) for _ in range(_RING)]
        self._rows = torch.zeros(_COLUMNS, max_running, device=device, dtype=torch.int64)
        self._host_rows = [_pinned(_COLUMNS, max_running, torch.int64) for _ in range(_RING)]
        self._turn = 0
        self._logits = torch.empty(max_running, shape.vocab_size, device=device, dtype=dtype)
        self._tokens = torch.zeros(max_running, device=device, dtype=torch.int64)
        self._best = kernels.best_parts(max_running, shape.vocab_size, device)
        self._with_graphs = graphs
        self._graphs: dict[tuple[int, bool], torch.cuda.CUDAGraph] = {}
        self._sizes = sizes(max_running)
        self._parts: dict[int, tuple[Tensor, Tensor]] = {}

    def site(self, layer: int, kind: str) -> AdapterSite:
        return getattr(self._model.blocks[layer], kind)  # type: ignore[no-any-return]

    @torch.no_grad()
    def reserve_adapter(self, slot: int, rank: int) -> None:
        if self._model.reserve(slot, rank):
            self._graphs.clear()

    def prepare(self) -> Iterator[None]:
        """Loads, compiles and records what can be before anybody waits: prompts of three lengths,
        then a graph a batch size, the largest first. Yields between them. Page 0 takes it all."""
        for pages in (1, 12, self._prefill_tokens // self._page_tokens):
            length = min(pages * self._page_tokens, self._model.shape.max_positions)
            if length == 0:
                continue
            prompt = Sequence("", 0, [0] * length, _GREEDY, 1, pages=[0] * pages)
            prompt.state = self._max_running
            prompt.choosing = Choosing(_GREEDY, 0, [])
            self.launch(Plan(pieces=[Piece(prompt, 0, length, True)])).read()
            yield
        for n in reversed(self._sizes if self._with_graphs else []):
            yield
            with torch.inference_mode():
                self._warm(n, adapters=False)

    @torch.inference_mode()
    def launch(self, plan: Plan) -> Launched:
        for sequence, pages in plan.park:
            sequence.parked = self._cache[:, :, pages].cpu()
        for sequence in plan.restore:
            kept = sequence.parked.shape[2]
            self._cache[:, :, sequence.pages[:kept]] = sequence.parked.to(self._device)
            sequence.parked = None
        drawing: list[Sequence] = []
        tokens: list[Tensor] = []
        scored: list[tuple[Tensor, Tensor, list[Sequence]]] = []
        prompts: list[PromptScored] = []
        if plan.pieces:
            self._prefill(plan.pieces, drawing, tokens, scored, prompts)
        if plan.decode:
            self._decode(plan.decode, drawing, tokens, scored)
        together = torch.cat(tokens) if tokens else self._tokens[:0]
        return _Wanted(
            drawing,
            _to_host(together),
            self._scores(drawing, scored),
            prompts,
            [piece.sequence for piece in plan.pieces if piece.last],
            _mark(),
        )

    def _decode(
        self, sequences: list[Sequence], drawing: list[Sequence], tokens: list[Tensor],
        scored: list[tuple[Tensor, Tensor, list[Sequence]]],
    ) -> None:  # fmt: skip
        count = len(sequences)
        if any(s.slot is not None for s in sequences):
            # rows of one adapter beside each other share what the kernels read of it
            sequences = sorted(sequences, key=lambda s: -1 if s.slot is None else s.slot)
        n = next(size for size in self._sizes if size >= count)
        adapters = any(s.slot is not None for s in sequences)
        if self._with_graphs:
            graph = self._graphs.get((n, adapters)) or self._warm(n, adapters)
            self._fill(sequences, n)
            graph.replay()
        else:
            self._fill(sequences, n)
            self._step(n, adapters)
        special = [i for i, s in enumerate(sequences) if not s.choosing.simple]
        if special:
            index = _to_device(special, self._device)
            rows = [sequences[i] for i in special]
            chosen = choose(self._logits.index_select(0, index), [s.choosing for s in rows])
            self._tokens.index_copy_(0, index, chosen)
            self._last.index_copy_(0, _to_device([s.state for s in rows], self._device), chosen)
        mine = self._tokens[:count].clone()
        drawing += sequences
        tokens.append(mine)
        scored.append((self._logits[:count], mine, sequences))

    def _step(self, n: int, adapters: bool) -> None:
        """One decode step over the first n rows; what a graph records."""
        given, states, positions, places, slots, lengths = self._rows[:, :n].unbind()
        mixed, weights = self._parts_of(n)

        def attend(layer: int, queries: Tensor, out: Tensor) -> None:
            keys, values = self._slots[layer, 0], self._slots[layer, 1]
            kernels.attend(
                queries, keys, values, self._tables[:n], lengths, out, mixed, weights,
                self._page_tokens,
            )  # fmt: skip

        rows = Rows(given, states, positions, places, slots)
        hidden = self._model.hidden(rows, self._last, self._slots, attend, adapters)
        logits = torch.mm(hidden, self._model.head.t(), out=self._logits[:n])
        kernels.best(logits, self._best, self._tokens[:n], self._last, states)

    def _warm(self, n: int, adapters: bool) -> torch.cuda.CUDAGraph:
        """Runs a step once for its compilers and workspaces, then records it. Writes page 0 only."""
        self._fill([], n)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._step(n, adapters)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(n, adapters)
        self._graphs[n, adapters] = graph
        return graph

    def _fill(self, sequences: list[Sequence], n: int) -> None:
        """Sends what the rows are; rows beyond the sequences write to page 0 and a spare state."""
        self._turn = (self._turn + 1) % _RING
        rows, tables = self._host_rows[self._turn], self._host_tables[self._turn]
        per_page = self._page_tokens
        columns = []
        table = tables.numpy()
        for row, sequence in enumerate(sequences):
            at = sequence.computed - 1
            given = -1 if sequence.in_flight > 1 else sequence.tokens[-1]
            place = sequence.pages[at // per_page] * per_page + at % per_page
            slot = -1 if sequence.slot is None else sequence.slot
            columns.append((given, sequence.state, at, place, slot, at + 1))
            table[row, : len(sequence.pages)] = sequence.pages
        columns += [(0, self._max_running, 0, 0, -1, 1)] * (n - len(sequences))
        table[len(sequences) : n, 0] = 0
        rows[:, :n] = torch.tensor(columns, dtype=torch.int64).t()
        self._rows.copy_(rows, non_blocking=True)
        self._tables[:n].copy_(tables[:n], non_blocking=True)

    def _parts_of(self, n: int) -> tuple[Tensor, Tensor]:
        """Scratch for attention in parts: enough of them to keep the whole GPU busy."""
        if n not in self._parts:
            shape = self._model.shape
            parts = min(32, max(1, -(-_PARTS // (n * shape.kv_heads))))
            size = (n, shape.heads, parts)
            mixed = torch.empty(*size, shape.head_dim, device=self._device)
            self._parts[n] = mixed, torch.empty(size, device=self._device)
        return self._parts[n]

    def _prefill(
        self, pieces: Many[Piece], drawing: list[Sequence], tokens: list[Tensor],
        scored: list[tuple[Tensor, Tensor, list[Sequence]]], prompts: list[PromptScored],
    ) -> None:  # fmt: skip
        rows, attend, ends = self._prompt_rows(pieces)
        adapters = any(piece.sequence.slot is not None for piece in pieces)
        hidden = self._model.hidden(rows, self._last, self._slots, attend, adapters)
        for piece, end in zip(pieces, ends, strict=True):
            sequence = piece.sequence
            if sequence.prompt_logprobs and piece.start < sequence.prompt_length:
                begin = end - (piece.end - piece.start)
                prompts += self._score_prompt(piece, hidden[begin:end])
        starting = [
            (piece.sequence, end - 1)
            for piece, end in zip(pieces, ends, strict=True)
            if piece.last and piece.sequence.max_new > 0
        ]
        if not starting:
            return
        sequences = [sequence for sequence, _ in starting]
        where = _to_device([row for _, row in starting], self._device)
        logits = self._model.logits(hidden.index_select(0, where))
        chosen = choose(logits, [sequence.choosing for sequence in sequences])
        states = _to_device([sequence.state for sequence in sequences], self._device)
        self._last.index_copy_(0, states, chosen)
        drawing += sequences
        tokens.append(chosen)
        scored.append((logits, chosen, sequences))

    def _prompt_rows(self, pieces: Many[Piece]) -> tuple[Rows, Attend, list[int]]:
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
        table = _to_device([given, *map(list, zip(*columns, strict=True))], self._device)
        source = _to_device(sources, self._device)
        ends = _to_device([q_ends, k_ends], self._device).to(torch.int32)
        n = len(given)

        def attend(layer: int, queries: Tensor, out: Tensor) -> None:
            keys = self._slots[layer, 0].index_select(0, source)
            values = self._slots[layer, 1].index_select(0, source)
            found = torch.ops.aten._flash_attention_forward(
                queries, keys, values, ends[0], ends[1], longest_q, longest_k, 0.0, True, False
            )
            out.copy_(found[0].reshape(n, -1))

        rows = Rows(table[0], table[1], table[2], table[3], table[4])
        return rows, attend, q_ends[1:]

    def _score_prompt(self, piece: Piece, hidden: Tensor) -> list[PromptScored]:
        sequence = piece.sequence
        end = min(piece.end, sequence.prompt_length - 1)
        found = []
        for start in range(piece.start, end, LOGIT_ROWS):
            stop = min(end, start + LOGIT_ROWS)
            logits = self._model.logits(hidden[start - piece.start : stop - piece.start])
            targets = _to_device(sequence.tokens[start + 1 : stop + 1], self._device)
            scores = score(logits, targets, sequence.alternatives or 0)
            found.append(PromptScored(sequence, start + 1, _scores_to_host(scores)))
        return found

    def _scores(
        self, drawing: list[Sequence], scored: list[tuple[Tensor, Tensor, list[Sequence]]]
    ) -> Scores | None:
        """Scores of every drawn token when somebody wants them, in the order of `drawing`."""
        wanted = [s.alternatives for s in drawing if s.alternatives is not None]
        if not wanted:
            return None
        parts = [score(logits, tokens, max(wanted)) for logits, tokens, _ in scored]
        joined = Scores(
            torch.cat([p.chosen for p in parts]),
            torch.cat([p.top for p in parts]),
            torch.cat([p.top_ids for p in parts]),
        )
        return _scores_to_host(joined)


def _pinned(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    return torch.zeros(rows, columns, dtype=dtype, pin_memory=True)


def _to_device(values: list[int] | list[list[int]], device: torch.device) -> Tensor:
    """int64, by a copy that nobody waits for."""
    return torch.tensor(values, dtype=torch.int64, pin_memory=True).to(device, non_blocking=True)


def _to_host(values: Tensor) -> Tensor:
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


def _scores_to_host(scores: Scores) -> Scores:
    return Scores(_to_host(scores.chosen), _to_host(scores.top), _to_host(scores.top_ids))


def _mark() -> torch.cuda.Event:
    event = torch.cuda.Event()
    event.record()
    return event
