"""Packs: the records of an optimiser step joined into one row, with positions that restart.

It owns how records become tensors and how a step is cut into micro-packs. It does not choose the
records of a step (train/schedule.py) and computes nothing (train/step.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bullion.data.supervise import IGNORED, Example


@dataclass(frozen=True)
class Pack:
    """The records of one optimiser step (or of one micro-pack of it), joined into one row.

    `labels[t]` is the token at t (the loss shifts); IGNORED where nothing is trained, and always at
    the first token of a record, which would otherwise be predicted from the record before.
    """

    input_ids: Tensor  # (T,) int64
    labels: Tensor  # (T,) int64
    positions: Tensor  # (T,) int64, restarts at 0 for every record
    lengths: tuple[int, ...]  # of the records; their sum is T

    def to(self, device: torch.device) -> Pack:
        """The same pack on `device`; the copy does not wait for the device."""
        if device.type == "cpu":
            return self
        moved = [
            t.pin_memory().to(device, non_blocking=True)
            for t in (self.input_ids, self.labels, self.positions)
        ]
        return Pack(moved[0], moved[1], moved[2], self.lengths)


def join(examples: Sequence[Example]) -> Pack:
    """One pack of `examples`, in their order."""
    ids: list[int] = []
    labels: list[int] = []
    positions: list[int] = []
    for example in examples:
        ids.extend(example.input_ids)
        labels.append(IGNORED)
        labels.extend(example.labels[1:])
        positions.extend(range(len(example)))
    return Pack(
        torch.tensor(ids, dtype=torch.int64),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(positions, dtype=torch.int64),
        tuple(len(example) for example in examples),
    )


def micro_packs(examples: Sequence[Example], limit: int | None) -> list[list[Example]]:
    """Cut the records of a step, in order, into packs of at most `limit` tokens.

    A record longer than `limit` is a pack of its own: a record is never cut here.
    """
    packs: list[list[Example]] = []
    room = 0
    for example in examples:
        if not packs or (limit is not None and room < len(example)):
            packs.append([])
            room = limit if limit is not None else 0
        packs[-1].append(example)
        room -= len(example)
    return packs
