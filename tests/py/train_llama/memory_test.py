"""The estimate of memory holds: against what an H200 used, and against what is allocated here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bullion.train.llama import LlamaShape, LlamaStepper, estimate
from bullion.train.llama.memory import RankColumns, Workspace

from .conftest import CPU, pack, record, spec, tuned

LLAMA_3_8B = LlamaShape(
    layers=32, hidden=4096, heads=32, kv_heads=8, head_dim=128, mlp=14336, vocabulary=128256,
    norm_epsilon=1e-5, tied=False,
)  # fmt: skip
LARGEST_STEP = 4082  # tokens, of the reference's records


@pytest.mark.parametrize(
    ("recompute", "used_gb"), [("none", 35.9), ("selective", 30.2), ("full", 19.3)]
)
def test_the_estimate_is_just_above_what_was_measured(recompute: Any, used_gb: float) -> None:
    estimated = estimate(LLAMA_3_8B, LARGEST_STEP, recompute) / 1e9
    assert used_gb < estimated < 1.06 * used_gb


def test_the_reference_job_fits_where_it_must() -> None:
    assert estimate(LLAMA_3_8B, LARGEST_STEP, "none") < 40e9
    assert estimate(LLAMA_3_8B, LARGEST_STEP, "full") < 24e9


@pytest.mark.parametrize("tokens", [1024, 1030])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_the_estimate_covers_the_buffers(recompute: Any, tokens: int) -> None:
    ranks = RankColumns(24, 8, 16, 8)
    shape = LlamaShape(3, 48, 6, 2, 8, 88, 211, 1e-5, True)
    space = Workspace(shape, ranks, recompute, torch.float32, CPU)
    space.reserve(tokens)
    buffers = space.layer(0, 1)["x"].untyped_storage().nbytes()
    weights = sum(p.numel() for p in tuned(tie_word_embeddings=True).parameters()) * 4
    assert (
        buffers + weights < estimate(shape, tokens, recompute, 8, "cpu") < 3 * (buffers + weights)
    )


def test_less_is_kept_the_more_is_computed_again() -> None:
    sizes = [estimate(LLAMA_3_8B, 3000, r) for r in ("none", "selective", "full")]  # type: ignore[arg-type]
    assert sizes == sorted(sizes, reverse=True)


def test_buffers_grow_with_the_largest_pack_and_do_not_shrink() -> None:
    stepper = LlamaStepper(tuned(), spec(), CPU)
    sizes = []
    for length in (20, 400, 30):
        stepper.accumulate(pack([record(0, 5, length)]), length)
        sizes.append(stepper._space.layer(0, 1)["x"].untyped_storage().nbytes())
    assert sizes[0] < sizes[1] == sizes[2]
