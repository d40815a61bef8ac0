"""Our reader and writer of safetensors beside the library's own."""

from __future__ import annotations

import hashlib
import json
import struct
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


def test_what_is_written_the_library_reads_alike_and_the_hash_is_the_files(
    tmp_path: Path,
) -> None:
    file = tmp_path / "model.safetensors"
    shapes = {name: (t.dtype, tuple(t.shape)) for name, t in SOME.items()}
    with TensorFileWriter(file, shapes) as writer:
        for name, tensor in SOME.items():
            writer.write(name, tensor)
    read = load_file(file)
    assert all(torch.equal(read[name], SOME[name]) for name in SOME)
    assert writer.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


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


def test_tensors_come_in_the_order_they_are_due(tmp_path: Path) -> None:
    shapes = {"a": (torch.float32, (2,)), "b": (torch.float32, (2,))}
    with (
        pytest.raises(AssertionError, match="b came where a"),
        TensorFileWriter(tmp_path / "x", shapes) as writer,
    ):
        writer.write("b", torch.zeros(2))
