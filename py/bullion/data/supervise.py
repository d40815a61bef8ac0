"""Which tokens of a record are kept and which are trained: the cut-off and the loss mask.

It owns every decision about labels. It does not know templates or tensors.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

IGNORED = -100
"""The label of a token that is not trained."""


@dataclass(frozen=True)
class Example:
    """A record as tokens: `labels[t]` is `input_ids[t]` where it is trained, IGNORED elsewhere.

    Made by `supervise` they are arrays of 64-bit numbers: a list takes five times the memory.
    """

    index: int  # of the record in its data set
    input_ids: Sequence[int]
    labels: Sequence[int]
    cut: bool = False  # some of its tokens were dropped by the cut-off
    lost_end: bool = False  # the end of an answer was dropped, or a whole last answer
    packed: tuple[int, ...] = ()  # lengths of its records, where several are packed into it

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the records in it: they never see each other."""
        return self.packed or (len(self.input_ids),)

    @property
    def trained_tokens(self) -> int:
        """Labels that count in the divisor of the loss, the first token of the record included."""
        return sum(label != IGNORED for label in self.labels)


Ids = list[int]


def supervise(
    index: int,
    pairs: Sequence[tuple[Ids, Ids]],
    cutoff: int,
    train_on_prompt: bool = False,
    mask_history: bool = False,
) -> Example:
    """The example of a record whose turns are (prompt ids, answer ids).

    Each turn is cut against what is left of `cutoff`; with `mask_history` the last turn is served
    first and alone trained, so that the oldest turns are the ones that fall away.
    """
    left = cutoff
    kept: list[tuple[Ids, Ids]] = []
    for prompt, answer in reversed(pairs) if mask_history else pairs:
        if left <= 0:
            break
        prompt_length, answer_length = cut(len(prompt), len(answer), left)
        kept.append((prompt[:prompt_length], answer[:answer_length]))
        left -= prompt_length + answer_length
    if mask_history:
        kept.reverse()
    ids: Ids = []
    labels: Ids = []
    for turn, (prompt, answer) in enumerate(kept, 1):
        trained = not mask_history or turn == len(kept)
        ids += prompt + answer
        labels += prompt if train_on_prompt else [IGNORED] * len(prompt)
        labels += answer if trained else [IGNORED] * len(answer)
    first = len(pairs) - len(kept) if mask_history else 0
    return Example(
        index,
        array("q", ids),
        array("q", labels),
        cut=len(ids) < sum(len(prompt) + len(answer) for prompt, answer in pairs),
        lost_end=any(len(answer) < len(pairs[first + t][1]) for t, (_, answer) in enumerate(kept))
        or (not mask_history and len(kept) < len(pairs)),
    )


def cut(prompt: int, answer: int, limit: int) -> tuple[int, int]:
    """How many tokens of a prompt and of its answer are kept, both from their start.

    The shorter side keeps all it has when it is below half of the limit; otherwise both shrink in
    proportion. LLaMA-Factory's rule.
    """
    if 2 * answer < limit:
        room = limit
    elif 2 * prompt < limit:
        room = limit - prompt
    else:
        room = int(limit * (answer / (prompt + answer)))
    kept = min(room, answer)
    return min(max(limit - kept, 0), prompt), kept
