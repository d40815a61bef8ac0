"""Answers that obey a JSON schema: which tokens may come next, by llguidance.

It owns the compiled vocabulary and one matcher for each constrained choice. The package is loaded
when the first such request comes, so an engine without it serves everything else.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from bullion.contract.errors import Refusal
from bullion.contract.worker import JsonObjectFormat, JsonSchemaFormat, ResponseFormat, TextFormat

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


class Grammars:
    """Makes grammars for one tokenizer; prepares its vocabulary once, at the first request."""

    def __init__(self, tokenizer: Any, vocab_size: int, eos: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._eos = eos
        self._prepared: Any = None

    def grammar(self, format: ResponseFormat) -> Grammar | None:
        """None for plain text. Raises Refusal: missing_package, invalid_json_schema."""
        if isinstance(format, TextFormat):
            return None
        try:
            import llguidance
            import llguidance.hf
        except ImportError as raised:
            raise Refusal(
                "missing_package",
                f"response_format {format.type} needs the package llguidance, which is not "
                "installed: run `pip install llguidance`",
                "response_format",
            ) from raised
        if self._prepared is None:
            self._prepared = llguidance.hf.from_tokenizer(
                self._tokenizer, n_vocab=self._vocab_size, eos_token=sorted(self._eos)
            )
        schema = _schema(format)
        matcher_of = llguidance.LLMatcher
        written = matcher_of.grammar_from_json_schema(schema, defaults=_STYLE)
        broken, found = matcher_of.validate_grammar_with_warnings(written, self._prepared)
        if broken:
            raise Refusal(
                "invalid_json_schema",
                f"Cannot follow response_format.json_schema: {found[0]}",
                "response_format",
            )
        return Grammar(matcher_of(self._prepared, written), self._vocab_size, self._eos)


def _schema(format: JsonObjectFormat | JsonSchemaFormat) -> str:
    return json.dumps({"type": "object"} if isinstance(format, JsonObjectFormat) else format.schema)
