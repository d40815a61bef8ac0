"""Packs: the records of an optimiser step joined into one row, with positions that restart.

It owns how records become tensors and how a step is cut into micro-packs. It does not choose the
records of a step (train/schedule.py) and computes nothing (train/step.py).
"""

from __future__ import annotations

import bisect
from array import array
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
    ids, labels, positions = array("q"), array("q"), array("q")
    lengths: list[int] = []
    for example in examples:
        ids.extend(example.input_ids)
        labels.extend(example.labels)
        for length in example.lengths:
            labels[len(positions)] = IGNORED
            positions.extend(range(length))
        lengths += example.lengths
    return Pack(_tensor(ids), _tensor(labels), _tensor(positions), tuple(lengths))


def _tensor(numbers: array[int]) -> Tensor:
    return torch.frombuffer(numbers, dtype=torch.int64)


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


KNAPSACK_RECORDS = 1000  # packed among themselves, as LLaMA-Factory's single worker does


def fill_knapsacks(examples: Sequence[Example], capacity: int) -> list[Example]:
    """`packing: true`: examples of at most `capacity` tokens, each of several records.

    Into each knapsack goes the longest record that still fits, again and again; of equal ones the
    last. Records keep positions and attention of their own.
    """
    filled: list[Example] = []
    for start in range(0, len(examples), KNAPSACK_RECORDS):
        order = sorted(
            range(start, min(start + KNAPSACK_RECORDS, len(examples))),
            key=lambda i: len(examples[i]),
        )
        lengths = [len(examples[i]) for i in order]
        while order:
            chosen: list[Example] = []
            room = capacity
            while order:
                fits = bisect.bisect_right(lengths, room) - 1
                if fits < 0 and chosen:
                    break
                fits = max(fits, 0)
                room -= lengths.pop(fits)
                chosen.append(examples[order.pop(fits)])
            filled.append(_packed(chosen))
    return filled


def _packed(records: Sequence[Example]) -> Example:
    return Example(
        records[0].index,
        array("q", [i for record in records for i in record.input_ids]),
        array("q", [label for record in records for label in record.labels]),
        any(record.cut for record in records),
        any(record.lost_end for record in records),
        tuple(len(record) for record in records),
    )
