"""How products and attention of a decode step are cut up: policy, measured by bench/products.py.

Measured on an H100 in Llama-3-8B's shapes, where a product must read its weight once and the memory
gives 3.03 TB/s: 80 % (o) to 97 % (head) of that, 1 to 20 % faster than the library. Copying by the
tensor memory accelerator was no faster and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MOST_ROWS = 128  # beyond, arithmetic counts and the library's products are better
MOST_SPLITS = 4
LONG_TOKENS = 1024  # a sequence above is shared out among many programs
MOST_PARTS = 32  # of a sequence in attention
_SHARED_BYTES = 226 * 1024  # of a Hopper multiprocessor
_WIDE = 32 * 1024


@dataclass(frozen=True)
class Tiling:
    """How a product is cut up; `ahead`: bytes of each weight row that are asked for early."""

    rows: int  # of the weight in a program
    depth: int  # of a step of its loop
    splits: int  # of the whole depth, computed side by side
    stages: int
    warps: int
    ahead: int


def columns(n: int) -> int:
    """The step's rows as the matrix units take them: a power of two."""
    return max(16, 1 << (n - 1).bit_length())


def tiling(width: int, depth: int, n: int, gated: bool = False) -> Tiling | None:
    """For n rows and a weight (width, depth), twice as wide when gated; None: the library does it."""
    if not 1 < n <= MOST_ROWS or depth % 128:
        return None
    many = columns(n) > 32
    if gated:
        found = Tiling(64, 64, 1, 5, 4, 0) if many else Tiling(64, 128, 1, 4, 4, 0)
    elif width >= _WIDE:
        found = Tiling(128 if many else 64, 128, 1, 3 if many else 5, 4, 0)
    elif width >= 4 * depth:
        found = Tiling(128, 64, 1, 4, 4, 0)
    else:
        long = depth >= 2 * width
        rows = 128 if long and n > 64 else 64
        programs = 256 if long else 96  # wanted
        splits = min(MOST_SPLITS, -(-programs * 64 // width), depth // 512) or 1
        found = Tiling(rows, 128, splits, (3 if many else 4) if long else 5, 4, 512)
    stage = (found.rows * (2 if gated else 1) + columns(n)) * found.depth * 2
    return replace(found, stages=min(found.stages, _SHARED_BYTES // stage))


@dataclass(frozen=True)
class AttentionCut:
    """How decode attention is cut up: tokens of a step of its loop, splits of a sequence."""

    tokens: int
    splits: int
    stages: int


def attention_cut(n: int, kv_heads: int, long: bool) -> AttentionCut:
    """For n rows, some of them `long` (above LONG_TOKENS): a few hundred programs keep the memory
    busy, more of them only join more; but no program may be alone with a long sequence."""
    splits = 16 if long else 1
    splits = min(MOST_PARTS, max(splits, -(-512 // (n * kv_heads))))
    return AttentionCut(16 if n <= 4 else 32, splits, 3 if splits == 1 else 2)
