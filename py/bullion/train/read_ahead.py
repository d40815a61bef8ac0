"""The base's weight files, read into the machine's file cache while records are encoded.

Loading finds them there instead of waiting for the disk. Nothing is claimed: no memory of the GPU,
and of the machine's only the cache, which it gives to whoever needs it. It opens no tensor, and a
file that cannot be read is left for loading to refuse.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import torch

from bullion.models.tensors import INDEX
from bullion.train.plan import free_memory

BLOCK = 8 << 20  # bytes read at a time, into one buffer


class ReadAhead:
    """`with ReadAhead(folder):` reads on a thread until all is read or the block is left.

    Does nothing where the files are larger than the free memory: their end would push out their
    beginning. Leaving does not wait for a read that hangs.
    """

    def __init__(self, folder: Path) -> None:
        self.bytes_read = 0
        self.files = weight_files(folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_all, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        if sum(file.stat().st_size for file in self.files) < free_memory(torch.device("cpu")):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def _read_all(self) -> None:
        buffer = memoryview(bytearray(BLOCK))
        for path in self.files:
            try:
                with path.open("rb", buffering=0) as file:
                    while not self._stop.is_set() and (count := file.readinto(buffer)):
                        self.bytes_read += count
            except OSError:
                return


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that loading will read, in their order: those of the index, or all."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        found = [folder / name for name in sorted(set(index["weight_map"].values()))]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        found = sorted(folder.glob("*.safetensors"))
    return [path for path in found if path.is_file()]
