"""A sequence: one choice of one request on its way through the engine. No torch here.

It knows its tokens, its pages and how far they are computed. It decides nothing: the scheduler says
when it runs, the output says when it ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from bullion.contract.worker import Sampling
from bullion.engine.pages import Key, prefix_keys


class Stage(Enum):
    WAITING = auto()  # holds nothing
    PREFILL = auto()  # holds pages for its prompt, computes it piece by piece
    DECODE = auto()  # one token a step
    PARKED = auto()  # was decoding; its KV lies beside the pool until there is room again
    ENDED = auto()


@dataclass(eq=False)
class Sequence:
    request: str  # the request's id
    index: int  # of the choice
    tokens: list[int]  # the prompt, then what was generated and is known
    sampling: Sampling
    max_new: int  # tokens it may generate; context and max_tokens decided it
    slot: int | None = None  # of its adapter; None: the base alone
    salt: bytes = b""  # what prefixes depend on besides tokens
    leader: Sequence | None = None  # same prompt, computed first; its pages are used again
    alternatives: int | None = None  # log probabilities wanted, with so many rivals
    prompt_logprobs: bool = False  # of the prompt too
    choosing: Any = None  # the sampler's state of this choice
    waits_for_token: bool = False  # the next step needs the last token on the host (grammar)
    stage: Stage = Stage.WAITING
    prompt_length: int = 0
    computed: int = 0  # tokens whose keys and values are computed, or will be by launched work
    cached: int = 0  # of the prompt, taken from known prefixes
    in_flight: int = 0  # sampled by launched work, not yet known here
    launched: int = 0  # tokens sampled so far, known or in flight
    pages: list[int] = field(default_factory=list)
    state: int = -1  # its row in the runner's per-sequence state
    parked: Any = None  # the runner's copy of its KV
    _keys: list[Key] = field(default_factory=list)
    _published: int = 0

    def __post_init__(self) -> None:
        self.prompt_length = len(self.tokens)

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt_length

    @property
    def length(self) -> int:
        """Tokens, the ones in flight included."""
        return len(self.tokens) + self.in_flight

    @property
    def may_decode(self) -> bool:
        return (
            self.stage is Stage.DECODE
            and self.launched < self.max_new
            and not (self.waits_for_token and self.in_flight)
        )

    def keys(self, page_tokens: int, limit: int) -> list[Key]:
        """Prefix keys of its full pages among the first `limit` known tokens."""
        pages = min(limit, len(self.tokens)) // page_tokens
        if pages > len(self._keys):
            parent = self._keys[-1] if self._keys else b""
            known = self.tokens[: pages * page_tokens]
            self._keys += prefix_keys(known, page_tokens, self.salt, parent, len(self._keys))
        return self._keys[:pages]

    def unpublished(self, page_tokens: int) -> list[tuple[int, Key]]:
        """Pages that became full and computed since the last call, with their keys."""
        keys = self.keys(page_tokens, self.computed)
        fresh = [(self.pages[i], keys[i]) for i in range(self._published, len(keys))]
        self._published = max(self._published, len(keys))
        return fresh
