"""Safetensors files by the piece: read or write a tensor, or some of its rows, from any thread.

Plain reads and writes instead of a memory map, so that a merge of 16 GB holds a few blocks of rows
in memory and no more. Owns the file format (8 bytes of header length, a JSON header, raw little-endian data) and
the order of a folder's tensors. It computes nothing.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from bullion.contract.errors import Refusal
from bullion.models.settings import broken, read_settings

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

    Raises Refusal: broken_weights when headers, sizes and index do not agree, broken_config.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / INDEX
        placed: dict[str, str] | None = None
        if index.is_file():
            placed = read_settings(index).get("weight_map")
            if not isinstance(placed, dict):
                raise broken(index, "it has no weight_map")
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
        return _read(slot, 0, slot.nbytes, None).view(slot.dtype).reshape(slot.shape)

    def read_rows(
        self, name: str, start: int, stop: int, into: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Rows start..stop (first dimension), on the CPU; in the bytes of `into` when it is given."""
        slot = self.slots[name]
        row = slot.nbytes // max(1, slot.shape[0])
        stop = min(stop, slot.shape[0])
        data = _read(slot, start * row, (stop - start) * row, into)
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
    """Writes one safetensors file: whole tensors or rows of them, in any order, from any thread.

    A context manager; the file is complete when the block ends without an error. Complete is not
    durable: whoever needs that syncs the file.
    """

    def __init__(self, file: Path, shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]]) -> None:
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
        self._slots: dict[str, Slot] = {}
        offset = 8 + len(text)
        for name, (dtype, shape) in shapes.items():
            self._slots[name] = Slot(file, offset, dtype, shape)
            offset += tensor_bytes(shape, dtype)
        self._due = {name: slot.nbytes for name, slot in self._slots.items()}  # bytes to come
        self._counting = threading.Lock()
        self._handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            self._put(struct.pack("<Q", len(text)) + text, 0)
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> TensorFileWriter:
        return self

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """The whole tensor, in the dtype and shape that were announced."""
        slot = self._slots[name]
        if (tensor.dtype, tuple(tensor.shape)) != (slot.dtype, slot.shape):
            raise AssertionError(f"{name} came as {tensor.dtype} {tuple(tensor.shape)}, not {slot}")
        self._place(name, slot.offset, tensor)

    def write_rows(self, name: str, start: int, rows: torch.Tensor) -> None:
        """Rows of `name` from `start` on; each row is written once."""
        slot = self._slots[name]
        fits = start + len(rows) <= slot.shape[0] and tuple(rows.shape[1:]) == slot.shape[1:]
        if rows.dtype != slot.dtype or not fits:
            raise AssertionError(f"{name} got {rows.dtype} {tuple(rows.shape)} from row {start}")
        self._place(name, slot.offset + start * (slot.nbytes // slot.shape[0]), rows)

    def _place(self, name: str, offset: int, tensor: torch.Tensor) -> None:
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        self._put(raw.numpy().data, offset)
        with self._counting:
            self._due[name] -= len(raw)

    def _put(self, data: bytes | memoryview, offset: int) -> None:
        left = memoryview(data)
        while left:
            done = os.pwrite(self._handle, left, offset)
            left, offset = left[done:], offset + done

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._handle)
        due = {name: count for name, count in self._due.items() if count}
        if kind is None and due:
            name, count = next(iter(due.items()))
            raise AssertionError(f"{name} was never written as a whole: {count} bytes are due")


def _read(slot: Slot, start: int, count: int, into: torch.Tensor | None) -> torch.Tensor:
    data = torch.empty(count, dtype=torch.uint8) if into is None else into[:count]
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
