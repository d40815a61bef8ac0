"""A tiny base and a quick job over it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bullion.contract.recipe import LengthSpec, TrainSpec
from small_jobs import plain_spec, write_records, write_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama-shaped base with random weights and a byte-level tokenizer with the llama3 tokens."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def quick(tiny: Path, tmp_path: Path) -> TrainSpec:
    """22 short records, batches of 4, three epochs (18 steps), learning rate high enough to learn."""
    texts = [[f"What is {i}?", f"It is {i * 37}, and not {i}." * (1 + i % 3)] for i in range(22)]
    data = write_records(tmp_path / "records.jsonl", texts)
    spec = plain_spec(tiny, tmp_path / "out", [data])
    return replace(
        spec,
        length=LengthSpec(3.0, -1, 2, 2, 4, True),
        optimizer=replace(spec.optimizer, learning_rate=1e-2),
    )
