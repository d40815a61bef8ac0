"""Canonical records: one JSON object a line, as core/datasets writes them.

It owns reading and checking that format and the split by `val_size`. Input formats (alpaca, sharegpt,
OpenAI messages) are not known here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from bullion.contract.errors import Refusal

Role = Literal["user", "assistant", "observation", "function_call"]
ASKING: tuple[Role, ...] = ("user", "observation")
ANSWERING: tuple[Role, ...] = ("assistant", "function_call")
T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    role: Role
    content: str


@dataclass(frozen=True)
class Record:
    """A conversation whose turns alternate between asking and answering, asking first."""

    index: int  # in the user's file, from 0
    system: str | None
    tools: Any | None  # function schemas: a list, or its JSON text
    turns: tuple[Turn, ...]


def read(paths: Iterable[str], first: int | None = None) -> list[Record]:
    """The records of `paths`, file after file; `first` keeps those among that many of the user's file.

    As LLaMA-Factory does, that counts records which core/datasets has dropped.
    """
    records: list[Record] = []
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                record = _record(line, path, number)
                if first is not None and record.index >= first:
                    break
                records.append(record)
    return records


def split(records: Sequence[T], val_size: float, seed: int) -> tuple[list[T], list[T]]:
    """(train, validation): a share (below 1) or a count, drawn as `datasets.train_test_split` draws it."""
    import numpy

    if val_size <= 0:
        return list(records), []
    count = math.ceil(val_size * len(records)) if val_size < 1 else int(val_size)
    if count >= len(records):
        raise Refusal(
            "val_size_too_large",
            f"val_size {val_size:g} takes {count} of {len(records)} records and leaves none to train "
            "on; choose a smaller one",
            "val_size",
        )
    order = numpy.random.default_rng(seed).permutation(len(records))
    return [records[i] for i in order[count:]], [records[i] for i in order[:count]]


def _record(line: str, path: str, number: int) -> Record:
    def fault(what: str) -> Refusal:
        return Refusal(
            "malformed_record", f"Cannot read {path} as {what}: line {number}", "dataset"
        )

    try:
        value = json.loads(line)
    except json.JSONDecodeError as raised:
        raise fault(f"the line is no JSON ({raised.msg})") from raised
    if not isinstance(value, dict) or not isinstance(value.get("turns"), list):
        raise fault("the line is no record with turns")
    turns = []
    for position, turn in enumerate(value["turns"]):
        allowed = ANSWERING if position % 2 else ASKING
        if not isinstance(turn, dict) or turn.get("role") not in allowed:
            role = turn.get("role") if isinstance(turn, dict) else turn
            raise fault(f"turn {position + 1} must be one of {', '.join(allowed)}, not {role!r}")
        if not isinstance(turn.get("content"), str):
            raise fault(f"turn {position + 1} has no text")
        turns.append(Turn(turn["role"], turn["content"]))
    if not turns or len(turns) % 2:
        raise fault("the record does not end with an answer")
    index = value.get("index")
    return Record(
        index if isinstance(index, int) else number - 1,
        value.get("system") or None,
        value.get("tools") or None,
        tuple(turns),
    )
