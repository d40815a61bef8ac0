"""One small base for the tests of models."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import write_base


@pytest.fixture(scope="session")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))
