"""Our reader and writer of safetensors beside the library's own."""

from __future__ import annotations

import json
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.models.tensors import TensorFileWriter, TensorFolder, read_header
from safetensors.torch import load_file, save_file

SOME = {
    "b": torch.arange(12, dtype=torch.float32).reshape(4, 3),
    "a": torch.randn(5, 2).bfloat16(),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 3, dtype=torch.float16),
}


def test_what_the_library_wrote_is_read_alike(tmp_path: Path) -> None:
    save_file(SOME, tmp_path / "model.safetensors")
    folder = TensorFolder(tmp_path)
    assert folder.slots.keys() == SOME.keys()
    assert all(torch.equal(folder.read(name), SOME[name]) for name in SOME)
    assert torch.equal(folder.read_rows("b", 1, 3), SOME["b"][1:3])
    assert torch.equal(folder.read_rows("b", 3, 99), SOME["b"][3:])


SHAPES = {name: (t.dtype, tuple(t.shape)) for name, t in SOME.items()}


def test_what_is_written_the_library_reads_alike(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    with TensorFileWriter(file, SHAPES) as writer:
        for name, tensor in SOME.items():
            writer.write(name, tensor)
    read = load_file(file)
    assert all(torch.equal(read[name], SOME[name]) for name in SOME)


def test_rows_may_come_in_any_order_and_from_any_thread(tmp_path: Path) -> None:
    big = torch.randn(512, 33)
    file = tmp_path / "model.safetensors"
    shapes = SHAPES | {"big": (torch.float32, (512, 33))}
    starts = torch.randperm(128).mul(4).tolist()
    with TensorFileWriter(file, shapes) as writer, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: writer.write_rows("big", at, big[at : at + 4]), starts))
        for name in reversed(SOME):
            writer.write(name, SOME[name])
    read = load_file(file)
    assert torch.equal(read["big"], big)
    assert all(torch.equal(read[name], SOME[name]) for name in SOME)


def test_rows_are_read_into_memory_that_is_there(tmp_path: Path) -> None:
    save_file(SOME, tmp_path / "model.safetensors")
    stage = torch.zeros(1000, dtype=torch.uint8)
    read = TensorFolder(tmp_path).read_rows("b", 1, 3, into=stage)
    assert torch.equal(read, SOME["b"][1:3]) and read.data_ptr() == stage.data_ptr()


def test_a_file_that_was_cut_off_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    file = tmp_path / "model.safetensors"
    save_file(SOME, file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Refusal, match="cut off"):
        TensorFolder(tmp_path)


@pytest.mark.parametrize("start", [b"", b"\xff" * 8, struct.pack("<Q", 4) + b"nope"])
def test_a_header_that_is_no_header_is_refused(tmp_path: Path, start: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(start)
    with pytest.raises(Refusal) as raised:
        read_header(file)
    assert raised.value.code == "broken_weights"


def test_an_index_that_names_more_than_the_shards_hold_is_refused(
    tmp_path: Path,
) -> None:
    save_file(SOME, tmp_path / "one.safetensors")
    placed = dict.fromkeys([*SOME, "c"], "one.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    with pytest.raises(Refusal, match="disagree on 1 tensors, as c"):
        TensorFolder(tmp_path)


@pytest.mark.parametrize(
    ("rows", "start"),
    [(torch.zeros(2, 3).double(), 0), (torch.zeros(2, 4), 0), (torch.zeros(2, 3), 3)],
    ids=["dtype", "shape", "place"],
)
def test_rows_that_were_not_announced_are_never_written(
    tmp_path: Path, rows: torch.Tensor, start: int
) -> None:
    with (
        pytest.raises(AssertionError, match=f"from row {start}"),
        TensorFileWriter(tmp_path / "x", SHAPES) as writer,
    ):
        writer.write_rows("b", start, rows)


def test_a_file_with_rows_missing_is_not_complete(tmp_path: Path) -> None:
    shapes = {"b": SHAPES["b"]}
    with (
        pytest.raises(AssertionError, match="b was never written as a whole: 12 bytes"),
        TensorFileWriter(tmp_path / "x", shapes) as writer,
    ):
        writer.write_rows("b", 1, SOME["b"][1:])
