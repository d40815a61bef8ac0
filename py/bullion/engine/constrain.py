"""Answers that obey a JSON schema, or that are calls: which tokens may come next, by llguidance.

It owns the compiled vocabulary and one matcher for each constrained choice. An engine without the
package serves everything else.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from bullion.contract.errors import Refusal, missing_package
from bullion.contract.worker import (
    JsonObjectFormat,
    JsonSchemaFormat,
    ResponseFormat,
    TextFormat,
    ToolCallsFormat,
)
from bullion.data.call_format import CallFormat
from bullion.engine import call_grammar

# Free white space lets a weak model write nothing but blanks.
_STYLE: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Grammar:
    """One choice's way through its grammar."""

    def __init__(self, matcher: Any, vocab_size: int, eos: frozenset[int]) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._eos = torch.tensor(sorted(eos))

    def allowed(self) -> Tensor:
        """(V,) bool: tokens that may come next; when the value is complete, the end tokens alone."""
        allowed = torch.zeros(self._vocab_size, dtype=torch.bool)
        if self._matcher.is_stopped():
            allowed[self._eos] = True
            return allowed
        mask = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        bits = (mask.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)) & 1
        known = bits.flatten()[: self._vocab_size].bool()
        allowed[: known.shape[0]] = known
        return allowed

    def accept(self, token: int) -> None:
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)


def _begins(matcher: Any) -> bool:
    """Whether there is a token that a value can begin with."""
    matcher.compute_bitmask()
    return not matcher.is_stopped()


class Grammars:
    """Makes grammars for one tokenizer, whose vocabulary is prepared once: by `prepare_beside`, or
    else at the first request."""

    def __init__(
        self, tokenizer: Any, vocab_size: int, eos: frozenset[int], calls: CallFormat | None
    ) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._eos = eos
        self._calls = calls
        self._prepared: Any = None
        self._preparing = threading.Lock()

    def prepare_beside(self) -> None:
        """Prepares the vocabulary in a thread: a large one takes seconds, and somebody may ask soon."""

        def prepare() -> None:
            with suppress(Exception):  # whoever asks for a grammar is told
                self._vocabulary()

        threading.Thread(target=prepare, name="grammar vocabulary", daemon=True).start()

    def _vocabulary(self) -> Any:
        """Raises ImportError."""
        import llguidance.hf

        with self._preparing:
            if self._prepared is None:
                self._prepared = llguidance.hf.from_tokenizer(
                    self._tokenizer, n_vocab=self._vocab_size, eos_token=sorted(self._eos)
                )
            return self._prepared

    def grammar(self, format: ResponseFormat) -> Grammar | None:
        """None for plain text. Raises Refusal: missing_package, invalid_json_schema, tool_choice_…"""
        if isinstance(format, TextFormat):
            return None
        param = "tools" if isinstance(format, ToolCallsFormat) else "response_format"
        try:
            import llguidance

            vocabulary = self._vocabulary()
        except ImportError as raised:
            what = "tool_choice" if param == "tools" else f"response_format {format.type}"
            raise missing_package(what, "llguidance", param) from raised
        matcher_of = llguidance.LLMatcher
        what = "the parameters in tools" if param == "tools" else f"{param}.json_schema"
        try:
            written = self._written(format, matcher_of)
            broken, found = matcher_of.validate_grammar_with_warnings(written, vocabulary)
        except Refusal:
            raise
        except (RecursionError, ValueError) as raised:
            broken, found = True, [f"it is nested too deeply ({raised})"]
        matcher = None if broken else matcher_of(vocabulary, written)
        if matcher is not None and not _begins(matcher):
            broken, found = True, ["no value can obey it"]
        if broken:
            raise Refusal("invalid_json_schema", f"Cannot follow {what}: {found[0]}", param)
        return Grammar(matcher, self._vocab_size, self._eos)

    def _written(
        self, format: JsonObjectFormat | JsonSchemaFormat | ToolCallsFormat, matcher_of: Any
    ) -> Any:
        if isinstance(format, ToolCallsFormat):
            if self._calls is None:
                raise Refusal(
                    "tool_choice_not_supported",
                    "Cannot force a call as this model's chat template writes calls in a form that "
                    'is not known here: use tool_choice "auto" and read the calls in the text',
                    "tool_choice",
                )
            grammar = call_grammar.written(format, self._calls, self._control, _STYLE)
            return matcher_of.grammar_from_lark(grammar)
        schema = {"type": "object"} if isinstance(format, JsonObjectFormat) else format.schema
        return matcher_of.grammar_from_json_schema(json.dumps(schema), defaults=_STYLE)

    def _control(self, text: str) -> int | None:
        added = self._tokenizer.added_tokens_decoder.items()
        return next((i for i, token in added if token.special and token.content == text), None)
