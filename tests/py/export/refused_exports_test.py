"""Exports that end early: each says why, and leaves nothing behind and nothing lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bullion.contract.errors import Refusal
from bullion.contract.recipe import ExportSpec
from bullion.export import crew, pour, shards
from bullion.export.recipe import export
from bullion.export.shards import slices
from bullion.models.tensors import TensorFileWriter, TensorFolder
from safetensors.torch import load_file, save_file
from small_models import PLAIN, write_adapter, write_base

Build = Callable[..., ExportSpec]


def refusal_of(spec: ExportSpec) -> Refusal:
    with pytest.raises(Refusal) as raised:
        list(export(spec, "job-1", lambda: None))
    return raised.value


def left_behind(spec: ExportSpec) -> list[Path]:
    target = Path(spec.export_dir)
    return list(target.parent.glob(f"*{target.name}*"))


@pytest.mark.parametrize("phase", ["prepare", "merge", "verify_weights", "verify_logits"])
@pytest.mark.parametrize("how", ["cancel", "pause"])
def test_it_stops_when_asked_and_leaves_nothing(
    how: str, phase: str, small_base: Path, adapter: Path, spec_of: Build
) -> None:
    spec = spec_of(small_base, adapter)
    events: list[Any] = []

    def interruption() -> str | None:
        phases = [e.data["phase"] for e in events if e.type == "message"]
        return how if phases[-1:] == [phase] else None

    for event in export(spec, "job-1", interruption):
        events.append(event)
    assert (events[-1].type, events[-1].how) == ("stopped", how)
    assert left_behind(spec) == []


def test_it_stops_between_two_pieces(
    small_base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = TensorFileWriter.write_rows

    def counted(self: TensorFileWriter, name: str, start: int, rows: Any) -> None:
        written.append(name)
        write(self, name, start, rows)

    monkeypatch.setattr(TensorFileWriter, "write_rows", counted)
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)
    monkeypatch.setattr(pour, "PIECE", 100)
    monkeypatch.setattr(crew, "crew_size", lambda processors: 2)
    spec = spec_of(small_base, adapter)
    pieces = sum(len(slices(slot.shape, 100)) for slot in TensorFolder(small_base).slots.values())
    list(export(spec, "job-1", lambda: "cancel" if len(written) >= 3 else None))
    assert 3 <= len(written) <= 10 < pieces
    stopped = len(written)
    time.sleep(0.05)
    assert len(written) == stopped and left_behind(spec) == []


def test_a_reader_that_goes_away_leaves_nothing(
    small_base: Path, adapter: Path, spec_of: Build
) -> None:
    spec = spec_of(small_base, adapter)
    running = export(spec, "job-1", lambda: None)
    for event in running:
        if event.type == "message" and event.data.get("phase") == "verify_weights":
            break
    running.close()
    assert left_behind(spec) == []


def test_progress_is_told_for_every_phase(small_base: Path, adapter: Path, spec_of: Build) -> None:
    events = list(export(spec_of(small_base, adapter), "job-1", lambda: None))
    told = [e.data for e in events if e.type == "message" and e.code == "progress"]
    done = {data["phase"] for data in told if data["done"] == data["total"]}
    assert done == {"merge", "verify_weights", "verify_logits"}
    assert {event.id for event in events} == {"job-1"}
    assert set(events[-1].result["seconds"]) == {*done, "prepare", "publish"}


def test_a_disk_without_room_is_said_before_anything_is_written(
    small_base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil._ntuple_diskusage(1000, 900, 100)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    spec = spec_of(small_base, adapter)
    refusal = refusal_of(spec)
    assert refusal.code == "disk_full" and "GB are needed" in refusal.message
    assert left_behind(spec) == []


@pytest.mark.parametrize("call", ["pwrite", "fsync"])  # some disks say so only when they sync
def test_a_disk_that_fills_up_is_said_and_the_older_export_stays(
    call: str,
    small_base: Path,
    adapter: Path,
    spec_of: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = spec_of(small_base, adapter)
    list(export(spec, "job-0", lambda: None))
    older = (Path(spec.export_dir) / "bullion.json").read_text()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    assert refusal_of(spec).code == "disk_full"
    assert (Path(spec.export_dir) / "bullion.json").read_text() == older
    assert left_behind(spec) == [Path(spec.export_dir)]


def test_an_older_export_is_replaced_as_a_whole(
    small_base: Path, adapter: Path, spec_of: Build
) -> None:
    target = Path(spec_of(small_base).export_dir)
    list(export(spec_of(small_base, adapter, shard_bytes=100_000), "job-0", lambda: None))
    (target.parent / f".{target.name}.job-x.partial").mkdir()
    list(export(spec_of(small_base, adapter), "job-1", lambda: None))
    assert [file.name for file in target.glob("*.safetensors")] == ["model.safetensors"]
    assert json.loads((target / "bullion.json").read_text())["job"] == "job-1"
    assert left_behind(spec_of(small_base)) == [target]


def test_an_older_export_comes_back_when_the_new_one_cannot_take_its_name(
    small_base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(small_base, adapter)
    list(export(spec, "job-0", lambda: None))
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "the disk went away")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="went away"):
        list(export(spec, "job-1", lambda: None))
    assert left_behind(spec) == [Path(spec.export_dir)]


def test_an_older_export_comes_back_after_a_process_died_between_two_renames(
    small_base: Path, adapter: Path, spec_of: Build
) -> None:
    spec = spec_of(small_base, adapter)
    target = Path(spec.export_dir)
    list(export(spec, "job-0", lambda: None))
    target.rename(target.parent / f".{target.name}.job-1.older")
    running = export(spec, "job-2", lambda: "cancel" if target.exists() else None)
    assert [event.type for event in running][-1] == "stopped"
    assert left_behind(spec) == [target]


def test_a_folder_with_a_strangers_files_is_left_alone(
    small_base: Path, adapter: Path, spec_of: Build
) -> None:
    spec = spec_of(small_base, adapter)
    Path(spec.export_dir).mkdir()
    (Path(spec.export_dir) / "thesis.docx").write_text("years of work")
    assert refusal_of(spec).code == "export_dir_taken"
    assert (Path(spec.export_dir) / "thesis.docx").read_text() == "years of work"


def test_the_base_is_never_overwritten(small_base: Path, adapter: Path, spec_of: Build) -> None:
    spec = spec_of(small_base, adapter, export_dir=str(small_base))
    assert "base itself" in refusal_of(spec).message


def test_pickled_exports_are_refused_by_the_keys_name(
    small_base: Path, adapter: Path, spec_of: Build
) -> None:
    refusal = refusal_of(spec_of(small_base, adapter, legacy_format=True))
    assert refusal.param == "export_legacy_format"


def test_a_quantised_base_is_refused(
    small_base: Path, adapter: Path, tmp_path: Path, spec_of: Build
) -> None:
    base = Path(shutil.copytree(small_base, tmp_path / "quantised"))
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (base / "config.json").write_text(json.dumps(config))
    assert refusal_of(spec_of(base, adapter)).code == "quantized_base"


def test_an_adapter_of_another_base_is_refused_with_the_tensor(
    adapter: Path, tmp_path: Path, spec_of: Build
) -> None:
    base = write_base(tmp_path / "base")
    config = json.loads((adapter / "adapter_config.json").read_text())
    other = tmp_path / "adapter"
    other.mkdir()
    (other / "adapter_config.json").write_text(json.dumps(config))
    tensors = load_file(adapter / "adapter_model.safetensors")
    renamed = {key.replace(".layers.1.", ".layers.7."): t for key, t in tensors.items()}
    save_file(renamed, other / "adapter_model.safetensors")
    refusal = refusal_of(spec_of(base, other))
    assert refusal.code == "adapter_mismatch" and "layers.7" in refusal.message


def test_a_folder_without_an_adapter_is_refused(
    small_base: Path, tmp_path: Path, spec_of: Build
) -> None:
    assert refusal_of(spec_of(small_base, tmp_path / "no")).code == "adapter_not_found"


def test_what_a_tied_base_uses_twice_is_not_changed_once(
    small_base: Path, tmp_path: Path, spec_of: Build
) -> None:
    lora = replace(PLAIN, additional_target=["embed_tokens"])
    folder = write_adapter(tmp_path / "adapter", small_base, lora)
    tied = write_base(tmp_path / "tied", tied=True)
    assert "tied" in refusal_of(spec_of(tied, folder)).message
