"""Packs keep records apart, micro-packs keep them whole, knapsacks are LLaMA-Factory's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bullion.data.packing import fill_knapsacks, join, micro_packs
from bullion.data.supervise import IGNORED, Example


def example(length: int, index: int = 0) -> Example:
    ids = list(range(100 * index, 100 * index + length))
    return Example(index, ids, ids)


def test_positions_restart_and_the_first_label_of_every_record_is_masked() -> None:
    pack = join([example(3, 1), example(2, 2)])
    assert pack.input_ids.tolist() == [100, 101, 102, 200, 201]
    assert pack.positions.tolist() == [0, 1, 2, 0, 1]
    assert pack.labels.tolist() == [IGNORED, 101, 102, IGNORED, 201]
    assert pack.lengths == (3, 2)


def test_packed_examples_become_records_again_in_a_pack() -> None:
    (packed,) = fill_knapsacks([example(2, 1), example(3, 2)], 9)
    pack = join([packed, example(1, 3)])
    assert pack.lengths == (3, 2, 1)
    assert pack.positions.tolist() == [0, 1, 2, 0, 1, 0]
    assert pack.labels.tolist() == [IGNORED, 201, 202, IGNORED, 101, IGNORED]


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [(None, [[3, 4, 2, 9, 1]]), (7, [[3, 4], [2], [9], [1]]), (1, [[3], [4], [2], [9], [1]])],
)
def test_micro_packs_keep_order_and_never_cut_a_record(
    limit: int | None, sizes: list[list[int]]
) -> None:
    packs = micro_packs([example(n) for n in (3, 4, 2, 9, 1)], limit)
    assert [[len(e) for e in pack] for pack in packs] == sizes


def test_knapsacks_take_the_longest_record_that_fits() -> None:
    filled = fill_knapsacks([example(n, i) for i, n in enumerate((5, 3, 7, 2, 3))], 10)
    assert [e.packed for e in filled] == [(7, 3), (5, 3, 2)]
    assert list(filled[0].input_ids[7:]) == [400, 401, 402]  # of equal lengths the last


def test_the_reference_records_fill_as_many_knapsacks_as_with_one_worker(golden: Path) -> None:
    lengths = json.loads((golden.parent / "experiments/token_lengths.json").read_text())
    filled = fill_knapsacks([example(sum(both), i) for i, both in enumerate(lengths)], 2047)
    assert len(filled) == 182
