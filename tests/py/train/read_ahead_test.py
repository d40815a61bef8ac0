"""Weights are read while records are encoded; whatever goes wrong is said as it was without that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bullion.contract.errors import Refusal
from bullion.contract.recipe import TrainSpec
from bullion.train import read_ahead, recipe
from bullion.train.read_ahead import ReadAhead, weight_files
from small_jobs import run


def wait_for(come: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not come() and time.monotonic() < deadline:
        time.sleep(0.001)
    return come()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[ReadAhead]:
    """The readers that jobs start."""
    started: list[ReadAhead] = []

    class Noted(ReadAhead):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            started.append(self)

    monkeypatch.setattr(recipe, "ReadAhead", Noted)
    return started


def test_all_weights_are_read_before_the_last_record_is_encoded(
    quick: TrainSpec, opened: list[ReadAhead], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(file.stat().st_size for file in weight_files(Path(quick.model.path)))
    prepare = recipe.prepare

    def slowly(*given: Any) -> Any:
        examples = prepare(*given)
        assert wait_for(lambda: opened[0].bytes_read == size)
        return examples

    monkeypatch.setattr(recipe, "prepare", slowly)
    events = run(quick)
    (load,) = [e for e in events if e.type == "message" and e.data.get("phase") == "load"]
    assert load.data["read_ahead_gb"] == round(size / 1e9, 3)
    assert wait_for(lambda: not opened[0].running)


def test_a_fault_of_the_data_is_refused_although_the_weights_are_damaged(
    quick: TrainSpec, opened: list[ReadAhead], tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for file in Path(quick.model.path).iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    (base / "model.safetensors").write_bytes(b"damaged")
    spec = replace(quick, model=replace(quick.model, path=str(base)))
    with pytest.raises(Refusal) as refused:
        run(replace(spec, data=replace(spec.data, cutoff_len=1)))
    assert refused.value.code == "nothing_to_train"
    assert wait_for(lambda: not opened[0].running)
    with pytest.raises(Refusal) as refused:
        run(spec)
    assert refused.value.code == "broken_weights"


def test_reading_ends_when_its_block_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_ahead, "BLOCK", 1)
    (tmp_path / "model.safetensors").write_bytes(bytes(50_000_000))
    with ReadAhead(tmp_path) as ahead:
        assert wait_for(lambda: ahead.bytes_read > 0)
    assert wait_for(lambda: not ahead.running)
    assert ahead.bytes_read < 50_000_000


def test_weights_that_do_not_fit_into_free_memory_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    monkeypatch.setattr(read_ahead, "free_memory", lambda _: 1000)
    with ReadAhead(tmp_path) as ahead:
        assert not ahead.running
    assert ahead.bytes_read == 0


def test_files_that_the_index_does_not_name_are_not_read(tmp_path: Path) -> None:
    for name in ("model-1.safetensors", "model-2.safetensors", "consolidated.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    names = ["consolidated.safetensors", "model-1.safetensors", "model-2.safetensors"]
    assert [file.name for file in weight_files(tmp_path)] == names
    weights = {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    assert [file.name for file in weight_files(tmp_path)] == names[1:]
