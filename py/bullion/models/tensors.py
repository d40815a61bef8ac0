"""Safetensors files by the piece: read one tensor, or some of its rows; write one after the other.

Plain reads instead of a memory map, so that a merge of 16 GB holds one tensor in memory and no
more. Owns the file format (8 bytes of header length, a JSON header, raw little-endian data) and
the order of a folder's tensors. It computes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from bullion.contract.errors import Refusal

INDEX = "model.safetensors.index.json"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
HEADER_LIMIT = 100_000_000  # bytes, the format's own limit


@dataclass(frozen=True)
class Slot:
    """Where a tensor lies: `offset` in bytes from the start of `file`."""

    file: Path
    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return tensor_bytes(self.shape, self.dtype)


def tensor_bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Bytes of a tensor's data."""
    count = 1
    for size in shape:
        count *= size
    return count * dtype.itemsize


class TensorFolder:
    """The tensors of a model folder (`model.safetensors` or shards with an index), read on demand.

    Raises Refusal broken_weights when headers, sizes and index do not agree.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / INDEX
        placed: dict[str, str] | None = None
        if index.is_file():
            placed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            files = [folder / name for name in dict.fromkeys(placed.values())]
        elif (folder / "model.safetensors").is_file():
            files = [folder / "model.safetensors"]
        else:
            files = sorted(folder.glob("*.safetensors"))
        self.slots: dict[str, Slot] = {}
        for file in files:
            self.slots |= read_header(file)
        if placed is not None and self.slots.keys() != placed.keys():
            odd = sorted(self.slots.keys() ^ placed.keys())
            raise _broken(index, f"it and the shards disagree on {len(odd)} tensors, as {odd[0]}")

    def read(self, name: str) -> torch.Tensor:
        """The whole tensor, on the CPU."""
        slot = self.slots[name]
        return _read(slot, 0, slot.nbytes).view(slot.dtype).reshape(slot.shape)

    def read_rows(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Rows start..stop (first dimension), on the CPU."""
        slot = self.slots[name]
        row = slot.nbytes // slot.shape[0]
        stop = min(stop, slot.shape[0])
        data = _read(slot, start * row, (stop - start) * row)
        return data.view(slot.dtype).reshape(stop - start, *slot.shape[1:])


def read_header(file: Path) -> dict[str, Slot]:
    """Name → place of every tensor in one safetensors file, in the order of their data."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(HEADER_LIMIT, size - 8):
                raise _broken(file, f"its header claims {length} bytes")
            header: dict[str, Any] = json.loads(stream.read(length))
        slots = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            slot = Slot(file, 8 + length + begin, DTYPES[entry["dtype"]], tuple(entry["shape"]))
            if end - begin != slot.nbytes or begin < 0 or 8 + length + end > size:
                raise _broken(file, f"{name} does not lie where its header says: is it cut off?")
            slots[name] = slot
    except FileNotFoundError as raised:
        raise _broken(file, "the index names it and it is missing") from raised
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as raised:
        if isinstance(raised, Refusal):
            raise
        raise _broken(file, f"its header cannot be read ({raised!r})") from raised
    return dict(sorted(slots.items(), key=lambda item: item[1].offset))


class TensorFileWriter:
    """Writes one safetensors file, tensor after tensor in the order of `shapes`.

    A context manager; the file is complete and synced when the block ends without an error, and
    `sha256` is then the file's (hashing runs beside the writing). Without `durable` it is neither
    synced nor hashed: for what can be made again.
    """

    sha256: str

    def __init__(
        self,
        file: Path,
        shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]],
        durable: bool = True,
    ) -> None:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name, (dtype, shape) in shapes.items():
            end = offset + tensor_bytes(shape, dtype)
            header[name] = {
                "dtype": NAMES[dtype],
                "shape": list(shape),
                "data_offsets": [offset, end],
            }
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._waiting = list(shapes.items())
        self._durable = durable
        self._digest = hashlib.sha256()
        self._hashing = ThreadPoolExecutor(1)
        self._stream = file.open("wb")
        self._append(struct.pack("<Q", len(text)) + text)

    def __enter__(self) -> TensorFileWriter:
        return self

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Append `tensor`, which must be the next one of `shapes`."""
        expected, (dtype, shape) = self._waiting.pop(0)
        if (name, tensor.dtype, tuple(tensor.shape)) != (expected, dtype, shape):
            raise AssertionError(f"{name} came where {expected} {dtype} {shape} was due")
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        self._append(raw.numpy().data)

    def _append(self, data: bytes | memoryview) -> None:
        if not self._durable:
            self._stream.write(data)
            return
        hashed = self._hashing.submit(self._digest.update, data)
        self._stream.write(data)
        hashed.result()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if self._waiting:
                    raise AssertionError(f"{self._waiting[0][0]} was never written")
                self._stream.flush()
                if self._durable:
                    os.fsync(self._stream.fileno())
                    self.sha256 = self._digest.hexdigest()
        finally:
            self._hashing.shutdown()
            self._stream.close()


def _read(slot: Slot, start: int, count: int) -> torch.Tensor:
    data = torch.empty(count, dtype=torch.uint8)
    view = data.numpy().data
    with slot.file.open("rb", buffering=0) as stream:
        stream.seek(slot.offset + start)
        done = 0
        while done < count:
            got = stream.readinto(view[done:])
            if not got:
                raise _broken(slot.file, "it ends before its last tensor")
            done += got
    return data


def _broken(file: Path, what: str) -> Refusal:
    return Refusal(
        "broken_weights", f"Cannot read {file}: {what}. Copy or download it again", "model"
    )
