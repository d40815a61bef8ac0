"""A decode step as one CUDA graph for each batch size.

It owns what a graph reads and writes: the rows' numbers, page tables, logits, tokens. A row's token
goes from step to step on the device; the host only says which sequence sits in which row.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from bullion.engine import attention_kernels, kernels
from bullion.engine.attention_kernels import Parts, Turning
from bullion.engine.cuda_llama import CudaLlama, Rows
from bullion.engine.runner import Drawn
from bullion.engine.sampling import choose
from bullion.engine.sequence import Sequence
from bullion.engine.tilings import LONG_TOKENS, attention_cut
from bullion.engine.transfer import pinned, to_device

_COLUMNS = 6  # given, states, positions, places, slots, lengths
_RING = 3  # host buffers in turn: a copy may still be on its way from the one before last


def sizes(most: int) -> list[int]:
    """Batch sizes that get a graph, up to `most`."""
    small = [n for n in (1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64) if n < most]
    return [*small, *(n for n in range(80, most, 16)), most]


class DecodeGraphs:
    """`last` (states,) holds the token sampled last for each state; `cache` is
    (layers, 2, slots, kv_heads, D). Both belong to the runner, as does page 0 for padding."""

    def __init__(
        self, model: CudaLlama, last: Tensor, cache: Tensor, page_tokens: int, most: int, wide: int
    ) -> None:
        """Up to `most` rows of up to `wide` pages."""
        device, vocabulary = last.device, model.shape.vocab_size
        self._model, self._last, self._cache, self._page_tokens = model, last, cache, page_tokens
        self._spare_state = last.shape[0] - 1
        self.sizes = sizes(most)
        self._graphs: dict[tuple[int, bool, bool], torch.cuda.CUDAGraph] = {}
        self._unrecorded = self._kinds()
        self._tables = torch.zeros(most, wide, device=device, dtype=torch.int32)
        self._host_tables = [pinned(most, wide, torch.int32) for _ in range(_RING)]
        self._rows = torch.zeros(_COLUMNS, most, device=device, dtype=torch.int64)
        self._host_rows = [pinned(_COLUMNS, most, torch.int64) for _ in range(_RING)]
        self._turn = 0
        self._logits = torch.empty(most, vocabulary, device=device, dtype=cache.dtype)
        self._tokens = torch.zeros(most, device=device, dtype=torch.int64)
        self._best = kernels.best_parts(most, vocabulary, device)
        self._parts: dict[tuple[int, bool], Parts] = {}

    def forget(self) -> None:
        """The memory behind the graphs has moved: they are recorded anew when they are needed."""
        self._graphs.clear()
        self._unrecorded = self._kinds()

    @property
    def unrecorded(self) -> bool:
        """Whether a step could come that has no graph yet."""
        return bool(self._unrecorded)

    def record_next(self) -> None:
        """Records one of those: the smaller batches first."""
        self.record(*next(iter(self._unrecorded)))

    def _kinds(self) -> dict[tuple[int, bool, bool], None]:
        """Every (rows, adapters, long) that `step` may ask for, in the order to record them in."""
        return dict.fromkeys(
            (n, adapters, long)
            for long, adapters in itertools.product((False, True), repeat=2)
            for n in self.sizes
            if not long or self._parted(n)
        )

    def step(self, sequences: list[Sequence], graphs: bool) -> Drawn:
        """One token for each sequence."""
        adapters = any(s.slot is not None for s in sequences)
        if adapters:
            # rows of one adapter beside each other share what the kernels read of it
            sequences = sorted(sequences, key=lambda s: -1 if s.slot is None else s.slot)
        count = len(sequences)
        n = next(size for size in self.sizes if size >= count)
        long = self._parted(n) and any(s.computed > LONG_TOKENS for s in sequences)
        if graphs:
            graph = self._graphs.get((n, adapters, long)) or self.record(n, adapters, long)
            self._fill(sequences, n)
            graph.replay()
        else:
            self._fill(sequences, n)
            self._compute(n, adapters, long)
        self._choose_special(sequences)
        return Drawn(sequences, self._tokens[:count].clone(), self._logits[:count])

    def record(self, n: int, adapters: bool, long: bool) -> torch.cuda.CUDAGraph:
        """Runs a step once for its compilers and workspaces, then records it. Writes page 0 only."""
        self._fill([], n)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._compute(n, adapters, long)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._compute(n, adapters, long)
        self._graphs[n, adapters, long] = graph
        self._unrecorded.pop((n, adapters, long), None)
        return graph

    def _compute(self, n: int, adapters: bool, long: bool) -> None:
        """The step over the first n rows; what a graph records."""
        given, states, positions, places, slots, lengths = self._rows[:, :n].unbind()
        parts = self._parts_of(n, long)

        def attend(layer: int, queries: Tensor, out: Tensor) -> None:
            turn_and_attend(layer, queries, None, out)

        def turn_and_attend(
            layer: int, queries: Tensor, turning: Turning | None, out: Tensor
        ) -> None:
            keys, values = self._cache[layer, 0], self._cache[layer, 1]
            attention_kernels.attend(
                queries, keys, values, self._tables[:n], lengths, out, parts, self._page_tokens,
                turning,
            )  # fmt: skip

        rows = Rows(given, states, positions, places, slots)
        hidden = self._model.hidden(
            rows, self._last, self._cache, attend, adapters, turn_and_attend
        )
        logits = self._model.logits(hidden, self._logits[:n])
        kernels.best(logits, self._best, self._tokens[:n], self._last, states)

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
        columns += [(0, self._spare_state, 0, 0, -1, 1)] * (n - len(sequences))
        table[len(sequences) : n, 0] = 0
        rows[:, :n] = torch.tensor(columns, dtype=torch.int64).t()
        self._rows.copy_(rows, non_blocking=True)
        self._tables[:n].copy_(tables[:n], non_blocking=True)

    def _choose_special(self, sequences: list[Sequence]) -> None:
        """Draws for the rows whose token is not the bare arg-max that the graph has taken."""
        special = [i for i, s in enumerate(sequences) if not s.choosing.simple]
        if not special:
            return
        device = self._last.device
        index = to_device(special, device)
        rows = [sequences[i] for i in special]
        chosen = choose(self._logits.index_select(0, index), [s.choosing for s in rows])
        self._tokens.index_copy_(0, index, chosen)
        self._last.index_copy_(0, to_device([s.state for s in rows], device), chosen)

    def _parted(self, n: int) -> bool:
        """Whether long sequences are attended to in more parts than short ones."""
        heads = self._model.shape.kv_heads
        return attention_cut(n, heads, True) != attention_cut(n, heads, False)

    def _parts_of(self, n: int, long: bool) -> Parts:
        """Scratch for attention in parts."""
        if (n, long) not in self._parts:
            shape, device = self._model.shape, self._last.device
            cut = attention_cut(n, shape.kv_heads, long)
            self._parts[n, long] = Parts.room(cut, n, shape.heads, shape.head_dim, device)
        return self._parts[n, long]
