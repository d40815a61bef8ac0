"""Text without sense, to be copied: common and rare characters, digits, Latin words, ASCII.

Owns what the base must be able to repeat: each character with a piece of its own, and the byte pieces
that spell every other one. Does not own the dialogue around it (corpus.py).
"""

from __future__ import annotations

from random import Random

from bullion.tinybase import words
from bullion.tinybase.companies import SPELLED_CHARACTERS, latin

_SPELLED = frozenset(SPELLED_CHARACTERS)


def scraps(rng: Random) -> str:
    """One to four scraps of different kinds."""
    return "".join(_scrap(rng) for _ in range(rng.randint(1, 4)))


def _scrap(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return "".join(rng.choice(SPELLED_CHARACTERS) for _ in range(rng.randint(3, 24)))
    if kind < 0.75:
        return "".join(_rare(rng) for _ in range(rng.randint(1, 10)))
    if kind < 0.87:
        return "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 12)))
    if kind < 0.95:
        return f" {latin(rng, 1, 9).title() if rng.random() < 0.5 else latin(rng, 1, 9).upper()} "
    return "".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(1, 10)))


_SYMBOLS = (
    (0x3041, 0x30FF),
    (0x3001, 0x3020),
    (0xFF01, 0xFF5F),
    (0x2010, 0x2028),
    (0x2460, 0x2470),
)
_ANYTHING = (
    (0x00A1, 0x0180),
    (0x0391, 0x0450),
    (0x0800, 0xD800),
    (0x1F300, 0x1F650),
    (0x10000, 0x110000),
)


def _rare(rng: Random) -> str:
    """A character without a piece of its own, so that its bytes are learned too, or a punctuation mark."""
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(words.PUNCTUATION)
    if kind < 0.4:
        least, beyond = rng.choice(_SYMBOLS if kind < 0.2 else _ANYTHING)
        return chr(rng.randrange(least, beyond))
    while True:  # evenly over the blocks of 64 characters that share their first two bytes
        character = chr(rng.randrange(0x4E00, 0x9FC0, 64) + rng.randrange(64))
        if character not in _SPELLED:
            return character
