"""From token ids to text, a token at a time: whole characters only, stop strings never shown.

It owns the bytes of each token and what of a choice's text may already leave. It knows no model.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from bullion.contract.worker import TokenLogprob

_BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TokenBytes:
    """What each id writes, as bytes. Control tokens write nothing into an answer."""

    def __init__(self, tokenizer: Any) -> None:
        size = len(tokenizer)
        pieces: list[str] = tokenizer.convert_ids_to_tokens(list(range(size)))
        added = tokenizer.added_tokens_decoder
        self.special = {i for i, token in added.items() if token.special}
        write = _writer(tokenizer)
        self._bytes = [
            added[i].content.encode() if i in added else write(piece) if piece is not None else b""
            for i, piece in enumerate(pieces)
        ]

    def __len__(self) -> int:
        return len(self._bytes)

    @cached_property
    def longest(self) -> int:
        """Bytes of the token that has the most."""
        return max(map(len, self._bytes), default=1)

    def raw(self, token: int) -> bytes:
        """The token's bytes, a control token's own name included; nothing for ids past the table."""
        return self._bytes[token] if token < len(self._bytes) else b""

    def shown(self, token: int, marks: frozenset[int] = frozenset()) -> bytes:
        """What it writes into an answer; of control tokens the `marks` alone."""
        return b"" if token in self.special and token not in marks else self.raw(token)

    def text(self, token: int) -> str:
        """The token alone as text; half a character becomes the replacement character."""
        return self.raw(token).decode("utf-8", errors="replace")

    def decode(self, tokens: list[int], special: bool) -> str:
        raw = self.raw if special else self.shown
        return b"".join(raw(token) for token in tokens).decode("utf-8", errors="replace")


def _writer(tokenizer: Any) -> Any:
    """A function from a vocabulary entry to its bytes, by the tokenizer's decoder."""
    decoder = tokenizer.backend_tokenizer.decoder
    if decoder is not None and b"ByteLevel" in decoder.__getstate__():  # its JSON
        alphabet = _byte_alphabet()
        return lambda piece: bytes(alphabet[c] for c in piece if c in alphabet)

    def metaspace(piece: str) -> bytes:
        byte = _BYTE_FALLBACK.fullmatch(piece)
        return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()

    return metaspace


def _byte_alphabet() -> dict[str, int]:
    """The printable stand-ins of byte-level BPE: visible Latin-1 stays, the rest counts up from 256."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in visible}
    hidden = (byte for byte in range(256) if byte not in set(visible))
    alphabet.update({chr(256 + i): byte for i, byte in enumerate(hidden)})
    return alphabet


class Characters:
    """Bytes that come in pieces as the characters they are; what is none becomes U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._count = 0  # whole characters so far

    def push(self, piece: bytes, final: bool = False) -> str:
        """The characters that are whole now."""
        text = self._decoder.decode(piece, final)
        self._count += len(text)
        return text

    def place(self, piece: bytes) -> int:
        """The number of the character, from 0, that the first byte of the next piece is part of."""
        unfinished: bytes = self._decoder.getstate()[0]
        try:
            codecs.utf_8_decode(unfinished + piece[:1], "strict", False)
        except UnicodeDecodeError:  # it does not go on with it, so that one is a U+FFFD
            return self._count + bool(unfinished)
        return self._count


def places(text: str, pieces: list[bytes]) -> list[int]:
    """Where in `text`, which the pieces write, each begins, in characters."""
    characters = Characters()
    if pieces and pieces[0].startswith(b" ") and not text.startswith(" "):
        pieces = [pieces[0][1:], *pieces[1:]]  # some tokenizers put a space before every text
    found = []
    for piece in pieces:
        found.append(characters.place(piece))
        characters.push(piece)
    return found


@dataclass
class _Held:
    entry: TokenLogprob
    start: int  # where its text begins, in characters of the answer


@dataclass
class TextOutput:
    """One choice's answer. `push` tokens; what it returns may leave, in order and for good.

    Text that could be the beginning of a stop string is held back until it is clear. `stopped`
    becomes true when a stop string was met; the text ends before it.
    """

    bytes_of: TokenBytes
    stop: list[str] = field(default_factory=list)
    marks: frozenset[int] = frozenset()  # control tokens that are shown: they stand around calls
    before: int = 0  # characters of the choice's text that stand before the answer's: an echo
    stopped: bool = False
    _characters: Characters = field(default_factory=Characters)
    _held: str = ""
    _released: int = 0  # characters
    _entries: list[_Held] = field(default_factory=list)

    def push(self, token: int, entry: TokenLogprob | None = None) -> str:
        """Takes one more token; returns the text that is now sure."""
        piece = self.bytes_of.shown(token, self.marks)
        if entry is not None:
            start = self._characters.place(piece)
            self._entries.append(_Held(replace(entry, offset=self.before + start), start))
        self._held += self._characters.push(piece)
        return self._release(len(self._held) - self._could_begin_stop())

    def finish(self) -> str:
        """The end: what was held back, half a character as the replacement character."""
        if self.stopped:
            return ""
        self._held += self._characters.push(b"", final=True)
        return self._release(len(self._held))

    def entries(self, all: bool = False) -> list[TokenLogprob]:
        """Entries of tokens whose text has begun to leave; with `all`, of every token not cut away."""
        end = self._released + (1 if all and not self.stopped else 0)
        limit = len(self._entries)
        if not all or self.stopped:
            limit = next((i for i, h in enumerate(self._entries) if h.start >= end), limit)
        ready, self._entries = self._entries[:limit], self._entries[limit:]
        return [held.entry for held in ready]

    def _release(self, sure: int) -> str:
        found = [at for at in (self._held.find(stop) for stop in self.stop) if at >= 0]
        if found:
            self.stopped = True
            sure = min(found)
        text = self._held[:sure]
        self._held = "" if self.stopped else self._held[sure:]
        self._released += len(text)
        return text

    def _could_begin_stop(self) -> int:
        """Length of the longest end of the held text that begins some stop string."""
        longest = 0
        for stop in self.stop:
            for size in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:size]):
                    longest = size
                    break
        return longest
