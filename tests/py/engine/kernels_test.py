"""The GPU's way through the blocks gives what the CPU's way gives.

Runs on CUDA, or on the CPU with Triton's interpreter (TRITON_INTERPRET=1).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.models.llama import LlamaShape, LlamaWeights
from bullion.models.llama_weights import load_llama, run_through

pytest.importorskip("triton", reason="Triton is not installed")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if not INTERPRETED and not torch.cuda.is_available():
    pytest.skip("needs CUDA or TRITON_INTERPRET=1", allow_module_level=True)

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
PAGE = 16
TOLERANCE = 1e-5 if INTERPRETED else 1e-2  # tensor cores take fp32 as tf32


def weights_of(base: Path, device: torch.device) -> LlamaWeights:
    return run_through(load_llama(base, LlamaShape.read(base), device, torch.float32))


def as_the_cpu_has_it(cache: torch.Tensor) -> torch.Tensor:
    """(layers, 2, pages, page, kv_heads, D) → (layers, pages, page, 2 · kv_heads, D): values beside
    their keys, and in a key the coordinates that a rotation turns beside each other."""
    keys, values = cache.unbind(1)
    pairs = keys.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
    return torch.cat([pairs, values], dim=-2)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """‖found − expected‖ / ‖expected‖"""
    found, expected = found.double().cpu(), expected.double().cpu()
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("slots", "turned"), [([-1, -1, -1], True), ([-1, -1, -1], False), ([0, 2, -1], True)]
)
@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("ours", [True, False], ids=["our products", "the library's"])
def test_a_decode_step_gives_the_logits_of_the_cpu(
    base: Path,
    adapters: list[Path],
    slots: list[int],
    turned: bool,
    splits: int,
    ours: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bullion.engine import attention_kernels
    from bullion.engine.adapters import AdapterSlots
    from bullion.engine.attention import Span
    from bullion.engine.cuda_llama import CudaLlama, Rows
    from bullion.engine.forward import Batch, Llama
    from bullion.engine.runner import lora_rows
    from bullion.engine.tilings import AttentionCut, Tiling

    def cut(width: int, depth: int, n: int, gated: bool = False) -> Tiling | None:
        return Tiling(32, 32, 1 if gated else 2, 2, 4, 64) if ours else None

    monkeypatch.setattr("bullion.engine.wide.tiling", cut)
    monkeypatch.setattr("bullion.engine.wide.hopper", lambda device: True)
    torch.manual_seed(1)
    shape = LlamaShape.read(base)
    cpu = Llama(weights_of(base, torch.device("cpu")))
    list(cpu.prepare())
    gpu = CudaLlama(weights_of(base, DEVICE), rows=4)
    held = AdapterSlots(shape, cpu.site, lambda slot, rank: None)

    def reserve(slot: int, rank: int) -> None:
        gpu.reserve(slot, rank)

    theirs = AdapterSlots(shape, lambda i, kind: getattr(gpu.blocks[i], kind), reserve)
    for adapter in adapters:
        held.hold(adapter)
        theirs.hold(adapter)
    lengths = [1, 70, 200]  # of the sequences, this step's token counted
    tables = [[3], list(range(4, 9)), list(range(20, 33))]
    there = torch.randn(shape.layers, 2, 40, PAGE, shape.kv_heads, shape.head_dim)
    cache = as_the_cpu_has_it(there)
    tokens = torch.tensor([7, 8, 9])
    positions = torch.tensor([length - 1 for length in lengths])
    places = torch.tensor(
        [
            pages[(n - 1) // PAGE] * PAGE + (n - 1) % PAGE
            for n, pages in zip(lengths, tables, strict=True)
        ]
    )
    spans = [
        Span(i, i + 1, n, p, False) for i, (n, p) in enumerate(zip(lengths, tables, strict=True))
    ]
    lora = lora_rows([(i, i + 1) for i in range(3)], [None if slot < 0 else slot for slot in slots])
    there = there.to(DEVICE).flatten(2, 3)
    with torch.no_grad():
        expected = cpu.logits(cpu.hidden(Batch(tokens, positions, places, spans, lora), cache))
    padded = torch.zeros(3, 13, dtype=torch.int32)
    for row, pages in enumerate(tables):
        padded[row, : len(pages)] = torch.tensor(pages, dtype=torch.int32)
    padded, counts = padded.to(DEVICE), torch.tensor(lengths, device=DEVICE)
    cut_up = AttentionCut(32, splits, 2)
    parts = attention_kernels.Parts.room(cut_up, 3, shape.heads, shape.head_dim, DEVICE)
    parts.mixed.fill_(float("nan"))
    parts.weights.fill_(float("nan"))

    def attend(layer: int, queries: torch.Tensor, out: torch.Tensor) -> None:
        turn_and_attend(layer, queries, None, out)

    def turn_and_attend(layer: int, queries: torch.Tensor, turning: Any, out: torch.Tensor) -> None:
        keys, values = there[layer, 0], there[layer, 1]
        attention_kernels.attend(queries, keys, values, padded, counts, out, parts, PAGE, turning)

    last = torch.tensor([0, 8, 0, 0], device=DEVICE)
    given = torch.tensor([7, -1, 9], device=DEVICE)  # the second one's token is on the device
    columns = [torch.arange(3), positions, places, torch.tensor(slots)]
    rows = Rows(given, *(column.to(DEVICE) for column in columns))
    with torch.no_grad():
        fused = turn_and_attend if turned else None
        found = gpu.logits(gpu.hidden(rows, last, there, attend, max(slots) >= 0, fused))
    assert error(found, expected) < TOLERANCE
    stored = as_the_cpu_has_it(there.unflatten(2, (40, PAGE)).cpu())
    assert error(stored, cache) < TOLERANCE


@pytest.mark.parametrize(("out", "inside"), [(24, 512), (4104, 2048), (4640, 512), (6144, 1024)])
def test_a_product_with_one_row_is_the_product(out: int, inside: int) -> None:
    from bullion.engine import skinny

    torch.manual_seed(2)
    weight, x = torch.randn(out, inside, device=DEVICE), torch.randn(1, inside, device=DEVICE)
    found = torch.full((1, out), float("nan"), device=DEVICE)
    tile = skinny.matvec_tile(out, inside)
    assert tile is not None
    skinny.matvec(x, weight, found, tile)
    assert error(found, x.double() @ weight.double().t()) < 1e-5
    half = torch.full((1, out // 2), float("nan"), device=DEVICE)
    skinny.matvec(x, weight, half, (4, 512, 2), gated=True)
    gate, up = (x.double() @ weight.double().t()).chunk(2, dim=-1)
    assert error(half, torch.nn.functional.silu(gate) * up) < 1e-5


@pytest.mark.parametrize("n", [2, 7, 16, 33])
@pytest.mark.parametrize(("width", "depth", "splits"), [(70, 256, 1), (64, 640, 4), (152, 384, 2)])
def test_the_parts_of_a_product_of_few_rows_add_up_to_it(
    n: int, width: int, depth: int, splits: int
) -> None:
    from bullion.engine import skinny
    from bullion.engine.tilings import Tiling

    torch.manual_seed(6)
    x, weight = torch.randn(n, depth, device=DEVICE), torch.randn(2 * width, depth, device=DEVICE)
    parts = torch.full((splits, n, width), float("nan"), device=DEVICE)
    skinny.product(x, weight[:width], parts, Tiling(64, 128, splits, 2, 4, 256))
    expected = x.double() @ weight.double().t()
    assert error(parts.sum(dim=0), expected[:, :width]) < TOLERANCE
    whole = torch.full((1, n, width), float("nan"), device=DEVICE)
    skinny.product(x, weight, whole, Tiling(32, 64, 1, 2, 4, 256), gated=True)
    gate, up = expected.chunk(2, dim=-1)
    assert error(whole[0], torch.nn.functional.silu(gate) * up) < TOLERANCE


def test_the_best_token_is_the_first_of_the_largest_logits() -> None:
    from bullion.engine import kernels

    torch.manual_seed(3)
    logits = torch.randn(3, 5000).round(decimals=1).to(DEVICE)  # many equals
    logits[1, 4999] = logits[2, 0] = 9.0
    tokens = torch.full((3,), -7, device=DEVICE)
    last = torch.full((9,), -7, device=DEVICE)
    states = torch.tensor([4, 0, 8], device=DEVICE)
    kernels.best(logits, kernels.best_parts(4, 5000, DEVICE), tokens, last, states)
    expected = [int((row == row.max()).nonzero()[0]) for row in logits.cpu()]
    assert tokens.tolist() == expected
    assert last.tolist() == [expected[1], -7, -7, -7, expected[0], -7, -7, -7, expected[2]]


def test_the_gate_widens_each_row_by_its_own_adapter() -> None:
    from bullion.engine import kernels

    torch.manual_seed(4)
    n, width, rank, slots = 20, 40, 8, 3
    wide = torch.randn(n, 2 * width + slots * 2 * rank)
    b = torch.randn(slots, 2 * width, rank)
    chosen = torch.tensor([-1, 0, 0, 2, 1] * 4)
    out = torch.full((n, width), float("nan"), device=DEVICE)
    kernels.gate(wide.to(DEVICE), out, b.to(DEVICE), chosen.to(DEVICE), rank)
    full = wide[:, : 2 * width].clone()
    low = wide[:, 2 * width :].view(n, slots, 2, rank)
    for row, slot in enumerate(chosen.tolist()):
        if slot >= 0:
            full[row, :width] += b[slot, :width] @ low[row, slot, 0]
            full[row, width:] += b[slot, width:] @ low[row, slot, 1]
    gate, up = full.chunk(2, dim=-1)
    assert error(out, torch.nn.functional.silu(gate) * up) < 1e-5


@pytest.mark.parametrize("vocabulary", [37, 400, 5056])
def test_draws_are_those_of_the_cpu(vocabulary: int) -> None:
    from bullion.engine import drawing_kernels
    from bullion.engine.sampling import draw_rows

    torch.manual_seed(5)
    ways = [(vocabulary, 1.0, 0.0), (5, 1.0, 0.0), (vocabulary, 0.7, 0.0), (20, 0.5, 0.0),
            (vocabulary, 1.0, 0.2), (30, 0.9, 0.05), (1, 1.0, 0.0), (vocabulary, 0.01, 0.0)]  # fmt: skip
    settings = torch.tensor(
        [(u, heat, *way) for way in ways for u in (0.0, 0.31, 0.77, 0.9999) for heat in (0.5, 1.5)]
    )
    logits = 3 * torch.randn(settings.shape[0], vocabulary)
    logits[:, 3] = float("-inf")
    expected = draw_rows(logits.clone(), settings)
    found = torch.full(expected.shape, -7, device=DEVICE)
    drawing_kernels.draw(logits.clone().to(DEVICE), settings.to(DEVICE), found)
    # one in a thousand may fall on the other side of a rounded edge
    assert (found.cpu() != expected).sum() <= 1
