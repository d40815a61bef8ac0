"""Carries a plan out on the GPU: prompts eagerly (prompt_pass.py), decoding by graphs (graphs.py).

A step is launched before the tokens of the one before are read: they come to the host in one copy a
step, one step late. It owns the KV pages' memory. runner.py is its twin on the CPU.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bullion.contract.worker import Sampling
from bullion.engine.adapters import AdapterSite
from bullion.engine.cuda_llama import CudaLlama
from bullion.engine.graphs import DecodeGraphs
from bullion.engine.logprobs import Scores, score
from bullion.engine.prompt_pass import PromptPass
from bullion.engine.runner import Drawn, Launched, PromptScored, Result, Sampled
from bullion.engine.sampling import Choosing
from bullion.engine.scheduler import Piece, Plan
from bullion.engine.sequence import Sequence
from bullion.engine.transfer import mark, scores_to_host, to_host
from bullion.models.llama import LlamaWeights

_GREEDY = Sampling(1, 0.0, 1.0, 0, 0.0, 1.0, 0.0, 0.0, {}, None, [], True)
_DRAWN = Sampling(1, 0.7, 0.9, 20, 0.01, 1.1, 0.1, 0.1, {"0": 0.1}, 1, [], True)  # of all there is


@dataclass
class _Underway:
    """A launched step, its tokens and scores on their way to the host."""

    drawn: list[Drawn]
    tokens: list[Tensor]  # host, pinned
    scores: list[Scores | None]
    prompts: list[PromptScored]
    prefilled: list[Sequence]
    arrived: torch.cuda.Event

    def read(self) -> Result:
        self.arrived.synchronize()
        result = Result(self.prompts, self.prefilled)
        for drawn, tokens, scores in zip(self.drawn, self.tokens, self.scores, strict=True):
            pairs = zip(drawn.sequences, tokens.tolist(), strict=True)
            for row, (sequence, token) in enumerate(pairs):
                about = scores if sequence.alternatives is not None else None
                result.sampled.append(Sampled(sequence, token, about, row))
        return result


class CudaRunner:
    lag = 1

    def __init__(
        self, weights: LlamaWeights, pages: int, page_tokens: int, max_running: int,
        prefill_tokens: int, graphs: bool,
    ) -> None:  # fmt: skip
        shape, device = weights.shape, weights.embed.device
        self._model = CudaLlama(weights, max(max_running, prefill_tokens))
        self._page_tokens = page_tokens
        self._spare_state = max_running
        size = (shape.layers, 2, pages, page_tokens, shape.kv_heads, shape.head_dim)
        self._pages = torch.zeros(size, device=device, dtype=weights.embed.dtype)
        slots = self._pages.flatten(2, 3)  # (layers, 2, slots, kv_heads, D)
        last = torch.zeros(max_running + 1, device=device, dtype=torch.int64)
        wide = min(pages, -(-shape.max_positions // page_tokens))
        self._prompts = PromptPass(self._model, last, slots, page_tokens)
        self._graphs = DecodeGraphs(self._model, last, slots, page_tokens, max_running, wide)
        self._with_graphs = graphs
        most = min(prefill_tokens, shape.max_positions)
        lengths = sorted({min(most, n) for n in (1, 16, 32, 64, 128, 192, most)})
        self._lengths = lengths  # prompts that differ in their kernels
        self._unseen_with_adapters = deque(lengths)

    def site(self, layer: int, kind: str) -> AdapterSite:
        return getattr(self._model.blocks[layer], kind)  # type: ignore[no-any-return]

    @torch.no_grad()
    def reserve_adapter(self, slot: int, rank: int) -> None:
        if self._model.reserve(slot, rank):
            self._graphs.forget()
            self._unseen_with_adapters = deque(self._lengths)

    @property
    def cold(self) -> bool:
        return bool(self._unseen_with_adapters) or (self._with_graphs and self._graphs.unrecorded)

    def warm(self) -> None:
        """Prompts with an adapter, then graphs: with adapters, with sequences that are long."""
        if self._unseen_with_adapters:
            self._try(self._unseen_with_adapters.popleft(), _GREEDY, None, slot=0)
            return
        with torch.inference_mode():
            self._graphs.record_next()

    def prepare(self) -> Iterator[None]:
        """Loads, compiles and records what can be before anybody waits: prompts of the lengths that
        differ in their kernels, one that is drawn from and scored, then a graph a batch size, the
        largest first. Yields between them. Page 0 takes it all.

        There is room for a usual adapter from the start, so the first one moves nothing.
        """
        self.reserve_adapter(0, 1)
        yield
        for length in self._lengths:
            self._try(length, _GREEDY, None)
            yield
        self._try(min(self._lengths[-1], 16), _DRAWN, 1)
        yield
        for n in reversed(self._graphs.sizes if self._with_graphs else []):
            with torch.inference_mode():
                self._graphs.record(n, adapters=False, long=False)
            yield

    def _try(
        self, length: int, sampling: Sampling, alternatives: int | None, slot: int | None = None
    ) -> None:
        pages = [0] * -(-length // self._page_tokens)
        prompt = Sequence(
            "", 0, [0] * length, sampling, 1, slot=slot, pages=pages, alternatives=alternatives
        )
        prompt.state = self._spare_state
        prompt.choosing = Choosing(sampling, 0, prompt.tokens)
        self.launch(Plan(pieces=[Piece(prompt, 0, length, True)])).read()

    @torch.inference_mode()
    def launch(self, plan: Plan) -> Launched:
        for sequence, pages in plan.park:
            sequence.parked = self._pages[:, :, pages].cpu()
        for sequence in plan.restore:
            kept = sequence.parked.shape[2]
            self._pages[:, :, sequence.pages[:kept]] = sequence.parked.to(self._pages.device)
            sequence.parked = None
        drawn: list[Drawn] = []
        prompts: list[PromptScored] = []
        if plan.pieces:
            first, prompts = self._prompts.compute(plan.pieces)
            drawn += [first] if first else []
        if plan.decode:
            drawn.append(self._graphs.step(plan.decode, self._with_graphs))
        return _Underway(
            drawn,
            [to_host(each.tokens) for each in drawn],
            [_scores(each) for each in drawn],
            prompts,
            [piece.sequence for piece in plan.pieces if piece.last],
            mark(),
        )


def _scores(drawn: Drawn) -> Scores | None:
    """Scores of the drawn tokens when somebody wants them."""
    wanted = [s.alternatives for s in drawn.sequences if s.alternatives is not None]
    if not wanted:
        return None
    return scores_to_host(score(drawn.logits, drawn.tokens, max(wanted)))
