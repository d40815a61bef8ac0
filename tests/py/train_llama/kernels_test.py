"""Triton kernels and plain torch do the same.

Without a GPU the kernels run in Triton's interpreter: TRITON_INTERPRET=1 with Triton installed.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from bullion.train.llama import LlamaStepper, eager
from bullion.train.llama.attention import ByRecord, Tiles
from bullion.train.llama.fp8 import quantised
from bullion.train.llama.gradients import AdapterProducts, AdapterTiles
from bullion.train.llama.means import Means

from .conftest import CPU, gradients, pack, records, separate_passes, spec, tuned, worst

pytest.importorskip("triton", reason="Triton is not installed")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU and no TRITON_INTERPRET=1", allow_module_level=True)

from bullion.train.llama import kernels

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.bfloat16]
interpreted = pytest.mark.skipif(DEVICE == "cuda", reason="compares with what runs on the CPU")
T, H, I, V = 7, 48, 88, 300  # noqa: E741


def wide(rows: int, columns: int, dtype: torch.dtype, spare: int = 16) -> torch.Tensor:
    """Random rows with spare columns behind them, as the step's buffers have."""
    return torch.randn(rows, columns + spare, device=DEVICE).to(dtype)[:, :columns]


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    tolerance = 1e-5 if ours.dtype == torch.float32 else 1e-2
    assert (ours.float() - theirs.float()).norm() <= tolerance * theirs.float().norm()


def both(function: str, *arguments: Any) -> tuple[list[Any], list[Any]]:
    """The arguments after the kernel and after plain torch, each on copies of its own."""
    results = []
    for module in (kernels, eager):
        copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]
        for copy, given in zip(copies, arguments, strict=True):
            if isinstance(given, torch.Tensor) and not given.is_contiguous():
                base = torch.full(
                    (given.shape[0], given.stride(0)), 5.0, device=DEVICE, dtype=given.dtype
                )
                base[:, : given[0].numel()] = given.reshape(given.shape[0], -1)
                copies[copies_index(copies, copy)] = base[:, : given[0].numel()].view(given.shape)
        getattr(module, function)(*copies)
        results.append(copies)
    return results[0], results[1]


def copies_index(copies: list[Any], wanted: Any) -> int:
    return next(i for i, c in enumerate(copies) if c is wanted)


def agree(function: str, *arguments: Any) -> None:
    torch.manual_seed(0)
    for ours, theirs in zip(*both(function, *arguments), strict=True):
        if isinstance(ours, torch.Tensor) and ours.is_floating_point():
            close(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("delta", [True, False])
@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_add_norm(dtype: torch.dtype, delta: bool, rows: bool, keep: bool) -> None:
    chosen = torch.tensor([5, 0, 3], device=DEVICE) if rows else None
    count = 3 if rows else T
    agree(
        "add_norm", wide(T, H, dtype), wide(T, H, dtype) if delta else None, chosen,
        torch.randn(H, device=DEVICE).to(dtype), 1e-5,
        wide(count, H, dtype) if keep else None, wide(count, H, dtype),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [True, False])
def test_norm_backward(dtype: torch.dtype, rows: bool) -> None:
    chosen = torch.tensor([5, 0, 3], device=DEVICE) if rows else None
    count = 3 if rows else T
    agree(
        "norm_backward", wide(count, H, dtype), wide(count, H, dtype), chosen,
        torch.randn(H, device=DEVICE).to(dtype), 1e-5, wide(T, H, dtype),
    )  # fmt: skip


def angles(dtype: torch.dtype, half: int) -> list[torch.Tensor]:
    turn = torch.rand(T, half, device=DEVICE) * 6
    return [turn.cos().to(dtype), turn.sin().to(dtype)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [8, 12, 64])
def test_rotate(dtype: torch.dtype, width: int) -> None:
    qk = wide(T, 11 * width, dtype).view(T, 11, width)
    agree("rotate", qk, *angles(dtype, width // 2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [I, 2048, 2100])
def test_swiglu(dtype: torch.dtype, width: int) -> None:
    agree("swiglu", wide(T, 2 * width, dtype), wide(T, width, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("again", [True, False])
def test_swiglu_backward(dtype: torch.dtype, again: bool) -> None:
    agree(
        "swiglu_backward", wide(T, I, dtype), wide(T, 2 * I, dtype), wide(T, 2 * I, dtype),
        wide(T, I, dtype) if again else None,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [V, 8192, 9001])
def test_cross_entropy(dtype: torch.dtype, classes: int) -> None:
    targets = torch.randint(0, classes, (T,), device=DEVICE)
    logits = torch.randn(T, classes, device=DEVICE).to(dtype) * 4
    agree("cross_entropy", logits, targets, torch.empty(T, device=DEVICE).zero_())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [I, 4096, 5000])
def test_quantise(dtype: torch.dtype, width: int) -> None:
    torch.manual_seed(0)
    x = wide(T, width, dtype)
    x[2] = 0
    ours, theirs = quantised(x, kernels), quantised(x, eager)
    assert torch.equal(ours.scales, theirs.scales)
    found, expected = ours.values.float(), theirs.values.float()
    if DEVICE == "cuda":
        assert torch.equal(found, expected)
        return
    # The interpreter rounds ties away from zero and drops the carry into the next power of two.
    wanted = x.float() / ours.scales
    carried = expected.abs().log2().frac() == 0
    near = (found - wanted).abs() <= (expected - wanted).abs() + 1e-5 * wanted.abs()
    assert (near | carried).all() and carried.float().mean() < 0.5


@interpreted
@pytest.mark.parametrize(
    "targets", [None, ["k_proj", "down_proj"], ["o_proj"]], ids=["all", "k+down", "o"]
)
def test_tiles_give_the_gradients_and_copies_of_plain_products(targets: Any) -> None:
    model = tuned(**({"targets": targets} if targets else {}), intermediate_size=144)
    stepper = LlamaStepper(model, spec(), CPU)
    flat, blocks = stepper._flat, stepper._blocks
    stepper._adapters = AdapterProducts(flat)
    loss, expected = gradients(stepper, [pack(records(3))])
    for block in blocks:
        for group in block.groups:
            group.a.fill_(7.0)  # that is: to be overwritten
    stepper._adapters = AdapterTiles(flat, CPU)
    found_loss, found = gradients(stepper, [pack(records(3))])
    assert abs(found_loss - loss) < 1e-6
    for name in expected:
        close(found[name], expected[name])


@interpreted
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize("attention", [ByRecord, Tiles])
def test_a_step_of_kernels_is_exact(recompute: Any, attention: Any) -> None:
    model = tuned(num_hidden_layers=2, head_dim=32)
    _, expected = separate_passes(model, records(4))
    means = Means(kernels, attention, 64, True)
    stepper = LlamaStepper(model, spec(), CPU, recompute, means)
    _, found = gradients(stepper, [pack(records(4))])
    assert worst(found, expected) < 1e-5


@interpreted
@pytest.mark.parametrize("lengths", [(70, 3, 130, 64), (1,), (65,)], ids=str)
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(4, 2, 32), (3, 1, 64), (2, 2, 32)])
def test_tiled_attention(lengths: Any, heads: int, kv_heads: int, width: int) -> None:
    torch.manual_seed(0)
    tokens, total = sum(lengths), heads + 2 * kv_heads
    qkv = wide(tokens, total * width, torch.float32).view(tokens, total, width)
    q, k, v = qkv.split((heads, kv_heads, kv_heads), dim=1)
    turn = torch.rand(tokens, width // 2) * 6
    dout = wide(tokens, heads * width, torch.float32).view(tokens, heads, width)
    results = []
    for attention in (Tiles(lengths, CPU), ByRecord(lengths, CPU)):
        out, lse = attention.forward(q, k, v)
        into = wide(tokens, total * width, torch.float32).view(tokens, total, width)
        attention.backward(dout, q, k, v, out, lse, turn.cos(), turn.sin(), into)
        results.append((out, into))
    for ours, theirs in zip(*results, strict=True):
        close(ours, theirs)
