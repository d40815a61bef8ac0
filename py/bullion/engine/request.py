"""A request being answered: its choices, and the events that they make.

It owns the texts of the choices and when each of them ends. It does not decide who runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bullion.contract.worker import DeltaEvent, DoneEvent, Event, TokenLogprob, Usage
from bullion.engine.detokenize import TextOutput, places
from bullion.engine.logprobs import entry
from bullion.engine.runner import PromptScored, Sampled
from bullion.engine.sequence import Sequence

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Echo:
    """A prompt that comes back before its answer."""

    text: str
    names_control_tokens: bool


@dataclass
class Choice:
    """One sequence and its text. Its methods return events that may leave at once."""

    sequence: Sequence
    output: TextOutput
    eos: frozenset[int]
    echo: Echo | None
    grammar: Any = None
    finished: Finish | None = None
    _prompt: list[TokenLogprob] = field(default_factory=list)
    _unsent: int = 0  # tokens that no delta stands for yet

    def take_prompt(self, scored: PromptScored) -> None:
        bytes_of, sequence = self.output.bytes_of, self.sequence
        count = sequence.alternatives or 0
        for row in range(scored.scores.chosen.shape[0]):
            token = sequence.tokens[scored.start + row]
            self._prompt.append(entry(bytes_of, token, scored.scores, row, count))

    def prompt_ready(self) -> list[Event]:
        """The prompt is computed: it is echoed now; without tokens to generate that is all."""
        events: list[Event] = []
        if self.echo is not None:
            tokens = None
            if self.sequence.prompt_logprobs:
                first = entry(self.output.bytes_of, self.sequence.tokens[0], None, 0, 0)
                tokens, self._prompt = self._placed(self.echo, [first, *self._prompt]), []
            events.append(self._delta(self.echo.text, tokens))
        if self.sequence.max_new == 0:
            events += self.end("length")
        return events

    def _placed(self, echo: Echo, tokens: list[TokenLogprob]) -> list[TokenLogprob]:
        bytes_of = self.output.bytes_of
        write = bytes_of.raw if echo.names_control_tokens else bytes_of.shown
        found = places(echo.text, [write(token.id) for token in tokens])
        return [replace(token, offset=at) for token, at in zip(tokens, found, strict=True)]

    def take(self, sampled: Sampled) -> list[Event]:
        sequence, token = self.sequence, sampled.token
        self._unsent += 1
        logprob = None
        if sampled.scores is not None:
            count = sequence.alternatives or 0
            logprob = entry(self.output.bytes_of, token, sampled.scores, sampled.row, count)
        ends = token in self.eos
        text = self.output.push(token, logprob) if not ends or logprob else ""
        if ends or self.output.stopped:
            return self.end("stop", text)
        if sequence.generated >= sequence.max_new:
            return self.end("length", text)
        entries = self.output.entries()
        return [self._delta(text, entries or None)] if text or entries else []

    def end(self, why: Finish, text: str = "") -> list[Event]:
        """The last delta of this choice."""
        self.finished = why
        text += self.output.finish()
        entries = self.output.entries(all=True) or None
        return [self._delta(text, entries, why)]

    def _delta(
        self, text: str, tokens: list[TokenLogprob] | None, finish: Finish | None = None
    ) -> DeltaEvent:
        count, self._unsent = self._unsent, 0
        return DeltaEvent(self.sequence.request, self.sequence.index, text, tokens, count, finish)


@dataclass(eq=False)
class Request:
    id: str
    model: str
    choices: list[Choice]
    adapter: Any = None  # held until the last choice ends

    @property
    def over(self) -> bool:
        return all(choice.finished for choice in self.choices)

    def done(self) -> DoneEvent:
        first = self.choices[0].sequence
        generated = sum(choice.sequence.generated for choice in self.choices)
        return DoneEvent(self.id, Usage(first.prompt_length, generated, first.cached))
