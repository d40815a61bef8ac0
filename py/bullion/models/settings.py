"""The JSON files of a model's folder (config.json, tokenizer_config.json …), read by whoever needs one.

Owns the refusal of a file that is damaged. What a setting means is not known here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bullion.contract.errors import Refusal


def read_settings(file: Path) -> dict[str, Any]:
    """The object that `file` holds. Raises Refusal("broken_config") for anything else."""
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as raised:
        raise broken(file, f"it is no JSON ({raised})") from raised
    if not isinstance(settings, dict):
        raise broken(file, "it holds no JSON object")
    return settings


def broken(file: Path, why: str) -> Refusal:
    """A settings file that cannot be used; `why` is a clause with a verb."""
    return Refusal(
        "broken_config", f"Cannot use {file} as {why}: copy or download it again", "model"
    )
