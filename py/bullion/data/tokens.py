"""Text to ids with control tokens kept apart: what people write can never become a control token.

It owns the difference between template text and anybody's text. It knows no template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bullion.contract.errors import Refusal


@dataclass(frozen=True)
class Control:
    """A control token by its string."""

    token: str


Piece = str | Control
"""Text, encoded without ever matching a special token, or a control token."""


class Encoder:
    """Encodes lists of pieces; texts are sent to the tokenizer in batches."""

    BATCH = 2048

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._controls: dict[str, int] = {}
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        return self.encode_all([pieces])[0]

    def encode_all(self, rows: Sequence[Sequence[Piece]]) -> list[list[int]]:
        """Ids of each row. Neighbouring texts of a row are encoded as one text."""
        merged = [list(_merge(row)) for row in rows]
        texts = list(dict.fromkeys(p for row in merged for p in row if isinstance(p, str)))
        ids: dict[str, list[int]] = {}
        for start in range(0, len(texts), self.BATCH):
            chunk = texts[start : start + self.BATCH]
            ids.update(zip(chunk, ids_of(self.tokenizer, chunk), strict=True))
        return [
            [i for p in row for i in (ids[p] if isinstance(p, str) else (self.control(p),))]
            for row in merged
        ]

    def control(self, control: Control) -> int:
        """The id of a control token; refuses a token that the vocabulary lacks."""
        token = control.token
        if token not in self._vocabulary:
            raise Refusal(
                "template_mismatch",
                f"The tokenizer has no token {token!r}, which the template writes; choose the "
                "template that belongs to this model",
                "template",
            )
        return self._vocabulary[token]


def ids_of(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each text, none of them a control token.

    Raises Refusal("text_not_tokenizable"): a tokenizer's pattern gives up on millions of equal
    characters, and its library then panics, with what is no Exception.
    """
    try:
        encoded = tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )
    except BaseException as raised:
        if type(raised).__name__ != "PanicException":
            raise
        if len(texts) > 1:
            return [ids for text in texts for ids in ids_of(tokenizer, [text])]
        text = texts[0]
        raise Refusal(
            "text_not_tokenizable",
            f"The tokenizer cannot read the text of {len(text):,} characters that begins with "
            f"{text[:40]!r} ({raised}): shorten it, or break up its longest run of one character",
        ) from None
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def controls_of(tokenizer: Any) -> tuple[str, ...]:
    """Every string that the tokenizer knows as a control token."""
    added = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
    return tuple(dict.fromkeys([*tokenizer.all_special_tokens, *added]))


def pieces_of(text: str, controls: Iterable[str]) -> list[Piece]:
    """Trusted template text as pieces: every occurrence of one of `controls` is a control token."""
    pattern = "|".join(re.escape(c) for c in sorted(controls, key=len, reverse=True))
    if not pattern:
        return [text]
    parts: list[Piece] = []
    end = 0
    for match in re.finditer(pattern, text):
        if match.start() > end:
            parts.append(text[end : match.start()])
        parts.append(Control(match.group()))
        end = match.end()
    if end < len(text):
        parts.append(text[end:])
    return parts


def _merge(pieces: Sequence[Piece]) -> Iterable[Piece]:
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
        text = ""
        yield piece
    if text:
        yield text
