"""Reads tensors to where they are computed with, some steps ahead of who needs them.

To a GPU they go through page-locked memory, a piece for each thread: the copy from there is several
times as fast, and locking whole tensors would take longer than copying them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bullion.export.crew import Crew
from bullion.models.tensors import TensorFolder

STAGE = 2**25  # bytes of page-locked memory for each thread


@dataclass(frozen=True)
class Want:
    """Rows of a tensor, all of them where `rows` is None."""

    folder: TensorFolder
    name: str
    rows: slice | None = None


class Feed:
    """Reads for one device with the threads of a crew."""

    def __init__(self, device: torch.device, crew: Crew) -> None:
        self.device, self._crew = device, crew
        self._of_thread = threading.local()

    def each(self, groups: list[list[Want]]) -> Iterator[list[torch.Tensor]]:
        """The tensors of every group in order; the next group is read while this one is used."""
        ahead = max((len(group) for group in groups), default=1)
        flat = [want for group in groups for want in group]
        tensors = self._crew.each(self.read, flat, ahead)
        for group in groups:
            yield [next(tensors) for _ in group]

    def read(self, want: Want) -> torch.Tensor:
        """In the dtype of the file, on the device."""
        slot = want.folder.slots[want.name]
        if self.device.type == "cpu" or not slot.shape:
            if want.rows is None:
                return want.folder.read(want.name).to(self.device)
            return want.folder.read_rows(want.name, want.rows.start, want.rows.stop)
        rows = want.rows or slice(0, slot.shape[0])
        count = min(rows.stop, slot.shape[0]) - rows.start
        target = torch.empty((count, *slot.shape[1:]), dtype=slot.dtype, device=self.device)
        return self.through_stage(target, want, rows.start)

    def through_stage(self, target: torch.Tensor, want: Want, start: int) -> torch.Tensor:
        """Fill `target` with the rows from `start` on, by pieces."""
        stage = self._stage()
        row = max(1, target[:1].nbytes)
        if row > len(stage):
            return target.copy_(want.folder.read_rows(want.name, start, start + len(target)))
        for at in range(0, len(target), len(stage) // row):
            part = target[at : at + len(stage) // row]
            read = want.folder.read_rows(want.name, start + at, start + at + len(part), into=stage)
            part.copy_(read, non_blocking=True)
            if target.is_cuda:
                torch.cuda.current_stream(self.device).synchronize()  # the stage is used again
        return target

    def _stage(self) -> torch.Tensor:
        stage: torch.Tensor | None = getattr(self._of_thread, "stage", None)
        if stage is None:
            locked = self.device.type == "cuda"
            stage = torch.empty(STAGE, dtype=torch.uint8, pin_memory=locked)
            self._of_thread.stage = stage
        return stage
