"""Canonical records: what is read, what is refused with its line, how val_size splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bullion.contract.errors import Refusal
from bullion.data.records import read, split


def line(*roles: str, **more: Any) -> str:
    return json.dumps({"turns": [{"role": role, "content": role} for role in roles], **more})


def written(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_the_first_records_of_each_file_are_kept_and_dropped_ones_count(tmp_path: Path) -> None:
    one = written(tmp_path / "a", *[line("user", "assistant", index=i) for i in (0, 2, 3)])
    two = written(tmp_path / "b", *[line("user", "assistant", index=i) for i in (0, 1, 2)])
    assert [record.index for record in read([one, two], 2)] == [0, 0, 1]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("{", "no JSON"),
        ("[]", "no record"),
        (line(), "does not end with an answer"),
        (line("user"), "does not end with an answer"),
        (line("assistant", "user"), "turn 1"),
        (line("user", "user"), "turn 2"),
        ('{"turns":[{"role":"user","content":5},{"role":"assistant","content":"x"}]}', "no text"),
    ],
)
def test_a_broken_record_is_refused_with_its_line(tmp_path: Path, broken: str, says: str) -> None:
    good = [line("user", "assistant")] * 16
    with pytest.raises(Refusal, match="line 17") as refused:
        read([written(tmp_path / "a", *good, broken)])
    assert says in refused.value.message


def test_val_size_takes_a_share_rounded_up_or_a_count() -> None:
    train, held_out = split(list(range(11)), 0.25, 42)
    assert (len(train), len(held_out)) == (8, 3)
    assert sorted(train + held_out) == list(range(11))
    assert len(split(list(range(11)), 4, 42)[1]) == 4
    assert split(list(range(11)), 0.25, 42) == (train, held_out)
    assert split(list(range(11)), 0.25, 43)[1] != held_out


def test_the_split_is_that_of_the_datasets_library() -> None:
    """`Dataset.from_list([{"i": i} for i in range(10)]).train_test_split(0.3, seed=42)` of datasets 5.2."""
    train, held_out = split(list(range(10)), 0.3, 42)
    assert held_out == [5, 6, 0]
    assert train == [7, 3, 2, 4, 9, 1, 8]


def test_a_val_size_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(Refusal, match="leaves none"):
        split([1, 2, 3], 3, 42)
