"""One small base of each dtype, an adapter over them, and what to export."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.recipe import ExportSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from small_models import base_of, write_adapter, write_base

PROBES = ["2023年营业收入是多少？", "What does the company make?"]


@pytest.fixture(scope="session")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def bf16_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base_bf16"), torch.bfloat16)


@pytest.fixture(scope="session")
def adapter(small_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("adapter"), small_base)


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[..., ExportSpec]:
    """An ExportSpec to `tmp_path/merged`, with anything in it changed by name."""

    def build(base: Path, *adapters: Path, **changes: Any) -> ExportSpec:
        fields: dict[str, Any] = {
            "export_dir": str(tmp_path / "merged"),
            "model": base_of(base),
            "adapters": [str(folder) for folder in adapters],
            "template": "llama3",
            "shard_bytes": 5_000_000_000,
            "dtype": "auto",
            "device": "cpu",
            "legacy_format": False,
            "probes": PROBES,
        }
        return ExportSpec(**(fields | changes))

    return build
