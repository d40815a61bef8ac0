"""fp8 products: what they stand for is exact, what they cost is small, and who cannot have them is told.

The processor multiplies fp8 matrices as well, slowly, so that all but the speed is tested anywhere.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bullion.train.llama import LlamaStepper, eager, obstacle
from bullion.train.llama.fp8 import FP8, Fp8Linear, Rows, product, quantised
from bullion.train.llama.linear import Dropout

from .conftest import CPU, gradients, pack, records, spec, tuned

SHAPE: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16}
NUMBERS = {**SHAPE, "num_attention_heads": 4}
DTYPES = [torch.float32, torch.bfloat16]


def worth(rows: Rows) -> torch.Tensor:
    return rows.values.float() * rows.scales


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.float() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_fills_the_range_and_every_number_is_rounded_to_the_nearest(dtype: Any) -> None:
    torch.manual_seed(0)
    x = (torch.randn(9, 80) * torch.logspace(-6, 6, 9)[:, None]).to(dtype)[:, :64]
    x[3] = 0
    rows = quantised(x, eager)
    assert rows.values.dtype == FP8
    full = rows.values.float().abs().amax(1)
    assert full.tolist() == [448.0 if i != 3 else 0.0 for i in range(9)]
    step = torch.maximum(x.float().abs() / 16, rows.scales * 2**-10)  # half of e4m3's at this size
    assert ((worth(rows) - x.float()).abs() <= step * (1 + 1e-5)).all()


@pytest.mark.usefixtures("cpu_fp8")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spare", [0, 16])
def test_a_product_is_that_of_the_quantised_numbers(dtype: Any, spare: int) -> None:
    torch.manual_seed(0)
    x = quantised(torch.randn(7, 64, dtype=dtype), eager)
    w = quantised(torch.randn(48, 64, dtype=dtype), eager)
    out = torch.full((7, 48 + spare), 5.0, dtype=dtype)
    product(x, w, out[:, :48])
    assert relative(out[:, :48], worth(x) @ worth(w).t()) < (1e-6 if dtype == DTYPES[0] else 4e-3)
    assert (out[:, 48:] == 5).all()


@pytest.mark.usefixtures("cpu_fp8")
@pytest.mark.parametrize("dropped", [False, True])
def test_a_group_goes_there_with_weights_by_row_and_back_with_weights_by_column(
    dropped: bool,
) -> None:
    layer = tuned(**NUMBERS, lora={"lora_dropout": 0.3 * dropped}).base_model.model.model.layers[0]
    modules = (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)
    weight = torch.cat([m.base_layer.weight.data.clone() for m in modules])
    group = Fp8Linear(modules, 16, eager)
    for slot in group.slots:
        group.a[:, slot.columns] = slot.a.data.t()
        group.b[slot.row : slot.row + slot.rows, slot.columns] = slot.scale * slot.b.data
    x, dy = torch.zeros(5, 64 + group.rank), torch.zeros(5, group.outputs + group.rank)
    x[:, :64], dy[:, : group.outputs] = torch.randn(5, 64), torch.randn(5, group.outputs)
    y, dx = torch.empty(5, group.outputs), torch.empty(5, 64)
    drop = Dropout(3, CPU) if dropped else None
    group.forward(x, y, drop)
    group.backward(dy, dx, drop)

    by_row, by_column = quantised(weight, eager), quantised(weight.t().contiguous(), eager)
    expected = worth(quantised(x[:, :64], eager)) @ worth(by_row).t()
    expected_back = worth(quantised(dy[:, : group.outputs], eager)) @ worth(by_column).t()
    for slot in group.slots:
        rows = slice(slot.row, slot.row + slot.rows)
        mask = drop.apply(torch.ones(5, 64), group, slot) if drop else 1.0
        expected[:, rows] += (x[:, :64] * mask) @ slot.a.t() @ slot.b.t() * slot.scale
        expected_back += dy[:, rows] @ slot.b @ slot.a * slot.scale * mask
    assert relative(y, expected) < 1e-6
    assert relative(dx, expected_back) < 1e-6


def test_the_weights_are_held_in_one_byte_and_nowhere_else() -> None:
    model = tuned(**NUMBERS)
    LlamaStepper(model, spec(compute_dtype="fp8"), CPU)
    frozen = [m.base_layer.weight for m in model.modules() if hasattr(m, "base_layer")]
    assert len(frozen) == 7 * 3
    assert all(weight.dtype == FP8 and not weight.is_cuda for weight in frozen)
    assert all(weight.untyped_storage().nbytes() <= 2 * 96 * 64 for weight in frozen)


@pytest.mark.usefixtures("cpu_fp8")
def test_a_step_is_near_the_exact_one_whatever_is_computed_again() -> None:
    numbers = {**NUMBERS, "num_hidden_layers": 2, "initializer_range": 0.05}
    loss, exact = gradients(LlamaStepper(tuned(**numbers), spec(), CPU), [pack(records(4))])
    seen = []
    for recompute in ("none", "selective", "full"):
        stepper = LlamaStepper(tuned(**numbers), spec(compute_dtype="fp8"), CPU, recompute)  # type: ignore[arg-type]
        found_loss, found = gradients(stepper, [pack(records(4))])
        assert abs(found_loss / loss - 1) < 0.02
        off = [relative(found[name], exact[name]) for name in exact]
        assert 0.005 < max(off) < 0.2
        seen.append((found_loss, found))
    for again_loss, again in seen[1:]:
        assert again_loss == seen[0][0]
        assert all(relative(again[name], seen[0][1][name]) < 1e-5 for name in exact)


def test_layers_that_do_not_fit_the_tensor_cores_are_named() -> None:
    model = tuned(hidden_size=48, intermediate_size=88)
    assert obstacle(model, spec(), CPU) is None
    reason = obstacle(model, spec(compute_dtype="fp8"), CPU)
    assert reason == "its layers are 88 wide, no multiple of 16"
