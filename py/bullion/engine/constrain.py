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
from bullion.engine.schemas import has_value, properties_in

# Free white space lets a weak model write nothing but blanks.
_STYLE: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


MOST_PROPERTIES = 2000
"""Of all objects of a request's schemas. A grammar's making takes their square: at 2,000 a quarter of a
second, during which nobody gets a token."""

# llguidance's own end at 500 optional properties of an object. Each is four items of a row.
_LIMITS: dict[str, Any] = {
    "max_items_in_row": 20_000,
    "step_max_items": 200_000,
    "verbose_errors": False,
}

_WHOLE = ("NoExtension", "EndOfSentence")
"""Why a grammar stops when its text is complete; else it has failed."""


class Grammar:
    """One choice's way through its grammar."""

    def __init__(self, matcher: Any, vocab_size: int, eos: frozenset[int]) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._eos = eos
        self._ahead: Tensor | None = None

    def fork(self) -> Grammar:
        """Another choice's, from where this one is; making one anew takes many times as long."""
        return Grammar(self._matcher.deep_copy(), self._vocab_size, self._eos)

    def look(self) -> None:
        """Finds out what may come next. Raises Refusal("grammar_failed") where nothing may and the text
        is not complete: to end then would pass a piece off as an answer."""
        if self._ahead is None:
            self._ahead = self._mask()

    def allowed(self) -> Tensor:
        """(V,) bool: tokens that may come next; when the value is complete, the end tokens alone.
        Raises what `look` raises."""
        self.look()
        assert self._ahead is not None
        allowed, self._ahead = self._ahead, None
        return allowed

    def accept(self, token: int) -> None:
        self._ahead = None
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)

    def _mask(self) -> Tensor:
        allowed = torch.zeros(self._vocab_size, dtype=torch.bool)
        if not self._matcher.is_stopped():
            mask = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
            bits = (mask.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)) & 1
            known = bits.flatten()[: self._vocab_size].bool()
            allowed[: known.shape[0]] = known
        if self._matcher.is_stopped():  # perhaps only since the mask was asked for
            if self._matcher.is_error() or self._matcher.stop_reason() not in _WHOLE:
                raise self._failed(_reason(self._matcher))
            allowed[:] = False
            allowed[sorted(self._eos)] = True
        elif not allowed.any():
            raise self._failed("no token of this model can go on")
        return allowed

    @staticmethod
    def _failed(why: str) -> Refusal:
        return Refusal(
            "grammar_failed",
            f"Cannot go on with an answer that has to obey a schema: {why}. Simplify the schema, above "
            "all what refers to itself or leaves many properties optional",
        )


def _begins(matcher: Any) -> bool:
    """Whether there is a token that a value can begin with."""
    matcher.compute_bitmask()
    return not matcher.is_stopped()


def _schemas(format: JsonObjectFormat | JsonSchemaFormat | ToolCallsFormat) -> dict[str, Any]:
    """A request's own schemas by how a sentence about them names them."""
    if isinstance(format, JsonSchemaFormat):
        return {"it": format.schema}
    if isinstance(format, ToolCallsFormat):
        return {f"{f.name}'s": f.parameters for f in format.functions}
    return {}


def _too_large(schemas: dict[str, Any]) -> str | None:
    """What llguidance would find too late, when others have waited for it."""
    count = properties_in(list(schemas.values()))
    if count > MOST_PROPERTIES:
        return f"{count:,} properties are named in all and {MOST_PROPERTIES:,} may be: name fewer"
    return None


def _endless(schemas: dict[str, Any]) -> str | None:
    """What llguidance would find only in the middle of an answer."""
    empty = next((name for name, schema in schemas.items() if not has_value(schema)), None)
    if empty is None:
        return None
    return (
        f"no finite value can obey {empty}, as what it requires requires itself again without end: leave "
        "a way out (null, or a property that is not required)"
    )


def _reason(matcher: Any) -> str:
    """Why a matcher stopped, on one line."""
    told = str(matcher.get_error() or matcher.stop_reason()).removesuffix("<non-verbose/>")
    return " ".join(told.split())


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
        what = "the parameters in tools" if param == "tools" else f"{param}.json_schema"
        matcher = None
        try:
            schemas = _schemas(format)
            fault = _too_large(schemas)
            if fault is None:
                written = self._written(format, llguidance.LLMatcher)
                limits = llguidance.LLParserLimits(**_LIMITS)
                matcher = llguidance.LLMatcher(vocabulary, written, limits=limits)
                if matcher.is_error():
                    fault = _reason(matcher)
                elif endless := _endless(schemas):
                    fault = endless
                elif not _begins(matcher):
                    fault = "no value can obey it"
        except Refusal:
            raise
        except (RecursionError, ValueError) as raised:
            too_deep = "recursion" in str(raised)
            fault = f"it is nested too deeply ({raised})" if too_deep else str(raised)
        if fault is not None:
            raise Refusal("invalid_json_schema", f"Cannot follow {what}: {fault}", param)
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
