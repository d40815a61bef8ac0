"""A base's tokenizer as serving needs it: what ends an answer, how calls look, what clients may know.

It reads all that once. How ids become text is detokenize's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bullion.data.call_format import MARKS, CallFormat, call_format
from bullion.data.template import stop_ids
from bullion.engine.detokenize import TokenBytes
from bullion.models.settings import read_settings


@dataclass
class Tokenizer:
    """A base's tokenizer with what the engine reads off it once."""

    tokenizer: Any
    bytes_of: TokenBytes
    eos: frozenset[int]
    calls: CallFormat | None  # the words in which the model calls functions
    marks: frozenset[int]  # control tokens among those words

    @staticmethod
    def of(tokenizer: Any, folder: Path) -> Tokenizer:
        ends = set(stop_ids(tokenizer))
        file = folder / "generation_config.json"
        if file.is_file():
            named = read_settings(file).get("eos_token_id")
            ends |= set(named if isinstance(named, list) else [named] if named is not None else [])
        calls = call_format(tokenizer)
        vocabulary = tokenizer.get_added_vocab()
        marks = frozenset(vocabulary[m] for m in MARKS[calls] if m in vocabulary) if calls else None
        return Tokenizer(
            tokenizer, TokenBytes(tokenizer), frozenset(ends), calls, marks or frozenset()
        )

    def info(self, context_length: int) -> dict[str, Any]:
        """What clients that build prompts themselves ask of it, as JSON values."""
        known = self.tokenizer
        return {
            "tokenizer_class": type(known).__name__,
            "bos_token": known.bos_token,
            "eos_token": known.eos_token,
            "pad_token": known.pad_token,
            "unk_token": known.unk_token,
            "add_bos_token": known.bos_token is not None,
            "chat_template": known.chat_template,
            "tool_format": self.calls,
            "model_max_length": context_length,
            "vocab_size": len(self.bytes_of),
        }
