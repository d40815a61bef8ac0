"""Which tokens of a record are kept and which are trained: the cut-off and the loss mask.

It owns every decision about labels. It does not know templates or tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

IGNORED = -100
"""The label of a token that is not trained."""


@dataclass(frozen=True)
class Example:
    """A record as tokens: `labels[t]` is `input_ids[t]` where it is trained, IGNORED elsewhere."""

    index: int  # of the record in its data set
    input_ids: list[int]
    labels: list[int]
    cut: bool = False  # some of its tokens were dropped by the cut-off
    lost_end: bool = False  # the end of its last answer was dropped

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def trained_tokens(self) -> int:
        """Labels that count in the divisor of the loss, the first token of the record included."""
        return sum(label != IGNORED for label in self.labels)
