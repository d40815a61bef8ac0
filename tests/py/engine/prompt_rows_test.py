"""A prompt pass' rows, as far as a processor can look at them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bullion.engine.scheduler import Piece
from bullion.engine.sequence import Sequence
from serving import sampling

pytest.importorskip("triton")  # the module beside it is made of kernels


def rows(*lengths: int) -> Any:
    """The rows of prompts of those lengths, each with a page of its own."""
    from bullion.engine.prompt_pass import PromptPass

    nothing: Any = None
    prompts = PromptPass(nothing, torch.zeros(8, dtype=torch.int64), torch.zeros(1), 16)
    pieces = []
    for number, length in enumerate(lengths):
        tokens = list(range(100 * number, 100 * number + length))
        sequence = Sequence("r", 0, tokens, sampling(), 1, pages=[number], state=number)
        pieces.append(Piece(sequence, 0, length, True))
    return prompts._rows(pieces)


@pytest.mark.parametrize("lengths", [(1,), (7,), (8,), (3, 5, 5)])
def test_rows_begin_where_compiled_kernels_expect_them(lengths: tuple[int, ...]) -> None:
    found, _, ends = rows(*lengths)
    assert ends[-1] == sum(lengths)
    for numbers in (found.given, found.states, found.positions, found.places, found.slots):
        assert numbers.data_ptr() % 16 == 0 and numbers.shape == (sum(lengths),)


def test_rows_say_whose_token_is_where() -> None:
    found, _, ends = rows(2, 3)
    assert found.given.tolist() == [0, 1, 100, 101, 102]
    assert found.states.tolist() == [0, 0, 1, 1, 1]
    assert found.positions.tolist() == [0, 1, 0, 1, 2]
    assert found.places.tolist() == [0, 1, 16, 17, 18]
    assert found.slots.tolist() == [-1] * 5
    assert ends == [2, 5]
