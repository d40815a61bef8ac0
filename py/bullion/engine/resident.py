"""One base in memory with all that is over it: adapters, sequences, requests.

It owns the requests under way on this base and turns steps into events. Which names lead here and
when the base leaves, the engine decides.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from bullion.contract.errors import Refusal, detail_of
from bullion.contract.worker import (
    ChatPrompt,
    EngineOpening,
    Event,
    FailedEvent,
    GenerateSpec,
    Prompt,
    TextPrompt,
)
from bullion.engine.adapters import AdapterSlots, ResidentAdapter
from bullion.engine.constrain import Grammars
from bullion.engine.detokenize import TextOutput
from bullion.engine.pages import PagePool
from bullion.engine.prompts import Context, Prompts
from bullion.engine.request import Choice, Echo, Request
from bullion.engine.runner import Launched, Runner
from bullion.engine.sampling import Choosing, choice_seed
from bullion.engine.scheduler import Scheduler
from bullion.engine.sequence import Sequence, Stage
from bullion.engine.tokenizer import Tokenizer
from bullion.models.llama import LlamaShape


class Resident:
    """A base that answers. One thread; nothing here blocks for longer than a step."""

    def __init__(
        self,
        folder: Path,
        shape: LlamaShape,
        tokenizer: Tokenizer,
        grammars: Grammars,
        runner: Runner,
        pool: PagePool,
        opening: EngineOpening,
    ) -> None:
        self.folder = folder
        self.shape = shape
        self.tokenizer = tokenizer
        self.pool = pool
        self.adapters = AdapterSlots(shape, runner.site, runner.reserve_adapter)
        self.scheduler = Scheduler(
            pool, opening.max_running, opening.max_waiting, opening.prefill_tokens
        )
        self._context = Context(
            self.context_length, shape.max_positions, tokenizer.bytes_of.longest
        )
        self._prompts = Prompts(tokenizer.tokenizer, shape.vocab_size)
        self._grammars = grammars
        self._runner = runner
        self._requests: dict[str, Request] = {}
        self._choices: dict[Sequence, Choice] = {}
        self._flying: deque[Launched] = deque()
        self._stays_cold = False  # getting ready beforehand has failed

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer: what the model was made for, or what KV memory holds."""
        return min(self.shape.max_positions, self.pool.capacity * self.pool.page_tokens)

    @property
    def busy(self) -> bool:
        return self.scheduler.busy or bool(self._flying)

    @property
    def cold(self) -> bool:
        """Whether `warm` has something left to do."""
        return self._runner.cold and not self._stays_cold

    def uses(self, model: str) -> bool:
        """Whether a request for that name is under way."""
        return any(request.model == model for request in self._requests.values())

    def tokenize(self, prompt: Any, add_special_tokens: bool) -> list[int]:
        """The prompt's ids, but the very name of a control token is that token: so clients look ids up."""
        self._context.check_tokenised(prompt)
        if isinstance(prompt, TextPrompt) and not add_special_tokens:
            named = self.tokenizer.tokenizer.get_added_vocab().get(prompt.text)
            if named is not None:
                return [named]
        return self._prompts.ids(prompt, add_special_tokens)

    def generate(self, id: str, spec: GenerateSpec, adapter: ResidentAdapter | None) -> None:
        """Queues a request. Raises Refusal: context_length_exceeded, queue_full, empty_prompt …"""
        self._context.check_text(spec.prompt)
        prompt = self._prompts.ids(spec.prompt)
        if not prompt:
            raise Refusal("empty_prompt", "The prompt is empty: give at least one token", "prompt")
        room = self._context.room(spec.prompt, len(prompt), spec.sampling.max_tokens)
        wanted = spec.sampling.max_tokens
        max_new = room if wanted is None else min(wanted, room)
        self._check_bias(spec)
        echo = self._echo(spec.prompt, prompt) if spec.echo else None
        calls = isinstance(spec.prompt, ChatPrompt) and spec.prompt.tools
        marks = self.tokenizer.marks if calls else frozenset()
        grammar = self._grammars.grammar(spec.format)
        choices: list[Choice] = []
        for index in range(spec.n):
            seed = choice_seed(spec.sampling.seed, index)
            sequence = Sequence(
                request=id,
                index=index,
                tokens=list(prompt),
                sampling=spec.sampling,
                max_new=max_new,
                slot=adapter.slot if adapter else None,
                salt=adapter.salt if adapter else b"",
                leader=choices[0].sequence if choices else None,
                alternatives=spec.logprobs,
                prompt_logprobs=spec.echo and spec.logprobs is not None,
                choosing=Choosing(spec.sampling, seed, prompt),
            )
            sequence.waits_for_token = grammar is not None
            endless = spec.sampling.ignore_eos and grammar is None
            eos = frozenset() if endless else self.tokenizer.eos
            stop = [s for s in spec.sampling.stop if s]
            before = len(echo.text) if echo else 0
            output = TextOutput(self.tokenizer.bytes_of, stop, marks, before)
            way = grammar.fork() if grammar and choices else grammar
            choices.append(Choice(sequence, output, eos, echo, way))
        self.scheduler.add(choice.sequence for choice in choices)
        if adapter:
            adapter.users += 1
        self._requests[id] = Request(id, spec.model, choices, adapter)
        self._choices.update((choice.sequence, choice) for choice in choices)

    def close(self) -> None:
        """Lets weights and KV memory go. Nothing may be asked of it afterwards."""
        del self._runner, self.adapters

    def cancel(self, id: str) -> list[Event]:
        """Ends a request now; its pages and rows are free when this returns."""
        request = self._requests.get(id)
        if request is None:
            return []
        events: list[Event] = []
        for choice in request.choices:
            if not choice.finished:
                events += choice.end("cancelled")
                self.scheduler.end(choice.sequence)
        return events + self._close(request)

    def fail(self, raised: BaseException, waiting_for: str | None = None) -> list[Event]:
        """Ends requests with an error: all of them, or those of one model that have not started."""
        events: list[Event] = []
        for request in list(self._requests.values()):
            started = any(c.sequence.stage is not Stage.WAITING for c in request.choices)
            if waiting_for is not None and (request.model != waiting_for or started):
                continue
            events.append(self._fail(request, raised))
        if waiting_for is None:
            self._flying.clear()
            self.pool.forget()
        return events

    def step(self) -> list[Event]:
        """Launches the next step and returns the events of the one that is due."""
        plan = self.scheduler.plan()
        if plan:
            for sequence in [piece.sequence for piece in plan.pieces if piece.last] + plan.decode:
                choice = self._choices[sequence]
                if choice.grammar is not None:
                    sequence.choosing.allowed = choice.grammar.allowed()
            self._flying.append(self._runner.launch(plan))
            for piece in plan.pieces:
                self.scheduler.publish(piece.sequence)
        events: list[Event] = []
        while self._flying and (len(self._flying) > self._runner.lag or not plan):
            events += self._take(self._flying.popleft())
        return events

    def warm(self) -> None:
        """Gets one thing ready that a request would wait for otherwise. For idle moments."""
        try:
            self._runner.warm()
        except Exception:
            self._stays_cold = True  # who needs it will try again, and be told
            raise

    def _take(self, launched: Launched) -> list[Event]:
        result = launched.read()
        events: list[Event] = []
        for scored in result.prompts:
            if choice := self._choices.get(scored.sequence):
                choice.take_prompt(scored)
        for sequence in result.prefilled:
            if choice := self._choices.get(sequence):
                events += choice.prompt_ready()
                self._settle(choice, events)
        for sampled in result.sampled:
            sequence = sampled.sequence
            choice = self._choices.get(sequence)
            if choice is None:
                continue  # it ended while this token was computed
            sequence.in_flight -= 1
            sequence.tokens.append(sampled.token)
            if choice.grammar is not None:
                choice.grammar.accept(sampled.token)
            events += choice.take(sampled)
            if choice.grammar is not None and not choice.finished:
                try:
                    choice.grammar.look()
                except Refusal as refusal:
                    events.append(self._fail(self._requests[sequence.request], refusal))
                    continue
            self._settle(choice, events)
            if not choice.finished and sequence.pages:
                self.scheduler.publish(sequence)
        return events

    def _settle(self, choice: Choice, events: list[Event]) -> None:
        """Frees what an ended choice held; the last one closes its request."""
        if not choice.finished:
            return
        self.scheduler.end(choice.sequence)
        self._choices.pop(choice.sequence, None)
        request = self._requests[choice.sequence.request]
        if request.over:
            events += self._close(request)

    def _close(self, request: Request) -> list[Event]:
        del self._requests[request.id]
        for choice in request.choices:
            self._choices.pop(choice.sequence, None)
        if request.adapter:
            self.adapters.release(request.adapter)
        return [request.done()]

    def _fail(self, request: Request, raised: BaseException) -> Event:
        """Ends one request with an error; what it held is free when this returns."""
        for choice in request.choices:
            self.scheduler.end(choice.sequence)
            choice.finished = choice.finished or "cancelled"
        self._close(request)
        return FailedEvent(request.id, detail_of(raised))

    def _echo(self, prompt: Prompt, ids: list[int]) -> Echo:
        if isinstance(prompt, TextPrompt):
            return Echo(prompt.text, names_control_tokens=False)
        return Echo(self.tokenizer.bytes_of.decode(ids, special=True), names_control_tokens=True)

    def _check_bias(self, spec: GenerateSpec) -> None:
        for token in spec.sampling.logit_bias:
            if not token.isdigit() or int(token) >= self.shape.vocab_size:
                raise Refusal(
                    "unknown_token_id",
                    f"logit_bias names token {token!r}, but this model knows 0 to "
                    f"{self.shape.vocab_size - 1}",
                    "logit_bias",
                )
