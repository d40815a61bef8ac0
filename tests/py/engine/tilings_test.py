"""However a model is shaped, a decode step is cut into pieces that fit a processor and have work to do."""

from __future__ import annotations

import pytest
from bullion.engine.tilings import (
    MOST_PARTS,
    MOST_ROWS,
    MOST_SPLITS,
    attention_cut,
    columns,
    tiling,
)

SHARED_BYTES = 227 * 1024  # of a Hopper multiprocessor
ROWS = [2, 3, 16, 17, 33, 64, 65, MOST_ROWS]
# (rows, depth) of the layers of Llamas from 1 to 70 B, with and without columns of adapters
LAYERS = [
    (3072, 2048), (2048, 2048), (8192, 2048), (2048, 8192), (128256, 2048),
    (5120, 3072), (3072, 3072), (3072, 8192), (6144, 4096), (6192, 4096), (4096, 4096),
    (14336, 4096), (28704, 4096), (4096, 14336), (128256, 4096), (32000, 4096),
    (10240, 8192), (8192, 8192), (28672, 8192), (8192, 28672), (128256, 8192), (640, 640),
]  # fmt: skip


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(("width", "depth"), LAYERS)
def test_tiles_fit_and_every_share_of_the_depth_has_work(
    width: int, depth: int, gated: bool
) -> None:
    for n in ROWS:
        cut = tiling(width, depth, n, gated)
        assert cut is not None
        tile = (cut.rows * (2 if gated else 1) + columns(n)) * cut.depth * 2
        assert cut.stages >= 2 and tile * cut.stages <= SHARED_BYTES
        assert depth % cut.depth == 0
        share = -(-depth // cut.depth // cut.splits) * cut.depth  # as the kernel reckons
        last = depth - (cut.splits - 1) * share
        assert 1 <= cut.splits <= MOST_SPLITS and last >= max(1, cut.ahead // 2)
        assert not gated or cut.splits == 1


def test_what_was_not_measured_is_left_to_the_library() -> None:
    assert tiling(4096, 4096, 1) is None
    assert tiling(4096, 4096, MOST_ROWS + 1) is None
    assert tiling(4096, 4160, 64) is None


@pytest.mark.parametrize("kv_heads", [1, 2, 8])
def test_long_sequences_are_shared_out_and_crowds_of_short_ones_are_not(kv_heads: int) -> None:
    for n in (1, 2, 8, 64, 128, 256):
        short, long = (attention_cut(n, kv_heads, many) for many in (False, True))
        assert 1 <= short.splits <= long.splits <= MOST_PARTS
        assert long.splits >= 16
        assert n * kv_heads * short.splits >= min(512, n * kv_heads * MOST_PARTS)
    assert attention_cut(512, kv_heads, False).splits == 1
