"""The merge itself: blocks of rows from the base's files, merged, into the files of the export.

Each thread of a crew reads, merges and writes its own rows: reading, sums and writing overlap, and
8 B parameters pass through a few hundred megabytes. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch

from bullion.export.changes import Change, Changes, apply_changes, part
from bullion.export.crew import Crew
from bullion.export.seal import FILES_AT_A_TIME, Sealing
from bullion.export.shards import Shard, slices
from bullion.models.tensors import TensorFileWriter, TensorFolder

BLOCK = {"cpu": 2**20, "cuda": 2**24}  # elements at a time; on the CPU they stay in a core's cache
PIECE = 2**24  # elements that a thread pours before it tells


@dataclass(frozen=True)
class Piece:
    """Rows of one tensor; `shard` is their file's place in the export."""

    shard: int
    name: str
    rows: slice


def pieces_of(shards: list[Shard]) -> list[list[Piece]]:
    """For each file its pieces in order."""
    return [
        [
            Piece(i, name, rows)
            for name, (_, shape) in shard.tensors.items()
            for rows in slices(shape, PIECE)
        ]
        for i, shard in enumerate(shards)
    ]


def pour(
    base: TensorFolder,
    changes: Changes,
    shards: list[Shard],
    folder: Path,
    device: torch.device,
    crew: Crew,
    sealing: Sealing,
) -> Iterator[Piece]:
    """Write every shard into `folder` and hand it to `sealing`; yields each piece when it is done.

    The sums are done on `device`. Files grow side by side, as the system lets one thread at a time
    write to a file.
    """
    pieces = pieces_of(shards)
    for first in range(0, len(shards), FILES_AT_A_TIME):
        some = range(first, min(first + FILES_AT_A_TIME, len(shards)))
        with ExitStack() as open_files:
            writers = {}
            for i in some:
                file = folder / shards[i].name
                writers[i] = open_files.enter_context(TensorFileWriter(file, shards[i].tensors))
                sealing.begin(file)

            def work(piece: Piece, writers: dict[int, TensorFileWriter] = writers) -> Piece:
                dtype, shape = shards[piece.shard].tensors[piece.name]
                adds = changes.get(piece.name, [])
                writer = writers[piece.shard]
                if not shape:
                    writer.write(piece.name, base.read(piece.name).to(dtype))
                    return piece
                for rows in slices(shape, BLOCK[device.type], piece.rows):
                    old = base.read_rows(piece.name, rows.start, rows.stop).to(dtype)
                    new = merged_rows(piece.name, old, part(adds, rows), device)
                    writer.write_rows(piece.name, rows.start, new)
                return piece

            turns = zip_longest(*(pieces[i] for i in some))
            yield from crew.each(work, [piece for turn in turns for piece in turn if piece])
        for i in some:
            sealing.written(folder / shards[i].name)


def merged_rows(
    name: str, old: torch.Tensor, changes: list[Change], device: torch.device
) -> torch.Tensor:
    """Rows of tensor `name` as the export holds them."""
    return apply_changes(old.to(device), changes) if changes else old
