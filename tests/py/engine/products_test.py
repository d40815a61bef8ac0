"""The CPU's products: the weights' own, whatever they are held in, each row by itself."""

from __future__ import annotations

import pytest
import torch
from bullion.engine import products
from torch import Tensor

SHAPES = ((24, 256), (384, 256), (256, 24), (256, 688), (1376, 256), (6000, 256))


@pytest.fixture(params=["fp16 products", "none"], autouse=True)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine that has products with fp16 weights, and one that has not."""
    if request.param == "none":
        monkeypatch.setattr(products, "has_fp16_products", lambda: False)
    elif not products.has_fp16_products():
        pytest.skip("this machine has none")
    return str(request.param)


def bf16(*size: int) -> Tensor:
    return torch.randn(size).bfloat16().float()


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 17, 64])
@pytest.mark.parametrize("draw", [bf16, torch.randn], ids=["bf16", "fp32"])
def test_a_row_of_a_product_does_not_depend_on_how_many_rows_there_are(rows, draw) -> None:
    torch.manual_seed(0)
    for out, size in SHAPES:
        multiply = products.product(draw(out, size), None)
        x = torch.randn(100, size)
        assert torch.equal(multiply(x[:rows]), multiply(x)[:rows])


@pytest.mark.parametrize("draw", [bf16, torch.randn], ids=["bf16", "fp32"])
def test_a_product_is_that_of_the_weights_and_the_bias(draw) -> None:
    torch.manual_seed(0)
    for out, size in SHAPES:
        weight, bias, x = draw(out, size), torch.randn(out), torch.randn(5, size)
        exact = x.double() @ weight.double().t() + bias.double()
        assert (products.product(weight, bias)(x) - exact).abs().max() < 2e-6 * exact.abs().max()


@pytest.mark.parametrize(
    "weight",
    [
        torch.randn(40, 64).bfloat16().float() * 2.0 ** torch.randint(-30, 0, (40, 64)),
        torch.randn(40, 64).bfloat16().float() * 1e-9,
        torch.randn(40, 64).bfloat16().float() * 1e6,
        torch.randn(40, 64),
        torch.cat([torch.randn(39, 64).bfloat16().float(), torch.randn(1, 64) * 1e-6]),
        torch.randn(40, 64).bfloat16().float() * 2.0 ** torch.randint(-60, 0, (40, 64)),
        torch.zeros(40, 64),
        torch.full((40, 64), 1e-40),
    ],
    ids=[
        "a wide range",
        "small",
        "large",
        "fp32",
        "a small row in fp32",
        "too wide a range",
        "zeros",
        "subnormal",
    ],
)
def test_no_weight_is_rounded(weight: Tensor) -> None:
    read = products.product(weight, None)(torch.eye(64))
    largest = weight.abs().max()
    assert (read - weight.t()).abs().max() <= largest * 2.0**-39
    assert torch.equal(read, weight.t()) or largest > 2.0**30 * weight[weight != 0].abs().min()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_broken_weight_breaks_its_own_output_only(bad: float) -> None:
    weight = bf16(40, 64)
    weight[7, 3] = bad
    out = products.product(weight, None)(torch.ones(1, 64)).squeeze(0)
    assert not out[7].isfinite()
    assert out[:7].isfinite().all() and out[8:].isfinite().all()


def test_bf16_weights_are_held_in_two_bytes_and_fp32_ones_are_not(machine: str) -> None:
    has = machine == "fp16 products"
    assert (products._in_two_bytes(bf16(40, 64), None) is not None) is has
    assert (products._in_two_bytes(torch.randn(40, 64).half().float(), None) is not None) is has
    assert products._in_two_bytes(torch.randn(40, 64), None) is None


@pytest.mark.parametrize("rank", [1, 8, 24, 48, 96])
def test_the_products_of_an_adapter_are_as_near_as_fp32_comes(rank: int) -> None:
    torch.manual_seed(0)
    a, b, x = torch.randn(rank, 256) * 1e-2, torch.randn(384, rank) * 1e-3, torch.randn(64, 256)
    down, up = products.thin_products(a, b)
    exact = x.double() @ a.double().t() @ b.double().t()
    assert (up(down(x)) - exact).abs().max() < 2e-6 * exact.abs().max()
    for rows in (1, 2, 3, 7):
        assert torch.equal(up(down(x[:rows])), up(down(x))[:rows])


def test_an_adapter_that_adds_nothing_adds_nothing() -> None:
    down, up = products.thin_products(torch.randn(8, 256), torch.zeros(384, 8))
    assert not up(down(torch.randn(3, 256))).any()


@pytest.mark.parametrize("power", [10, 20, 25, 30, 40, 60])
@pytest.mark.parametrize(
    "place",
    [(slice(0, 8), slice(None)), (slice(0, 8), slice(0, 1)), (slice(None), slice(0, 1))],
    ids=["some outputs", "an input of some outputs", "an input"],
)
def test_outliers_take_no_digits_from_the_others(power: int, place: tuple[slice, slice]) -> None:
    torch.manual_seed(0)
    weight, x = bf16(40, 256), torch.randn(5, 256)
    weight[place] *= 2.0**power
    x[:, 0] = 0.0  # a channel that is never used may hold the outlier
    exact = x.double() @ weight.double().t()
    error = (products.product(weight, None)(x) - exact).abs().amax(0)
    assert (error < 2e-6 * exact.abs().amax(0)).all()  # each output by itself


@pytest.mark.parametrize("outlier", [1e6, 1e12, 1e30])
@pytest.mark.parametrize("small", [1.0, 1e-37])
def test_an_outlier_of_an_adapter_takes_no_digits_from_the_others(outlier, small) -> None:
    torch.manual_seed(0)
    a, b, x = torch.randn(8, 256), torch.randn(40, 8) * small, torch.randn(5, 256)
    b[3, 2] *= outlier
    down, up = products.thin_products(a, b)
    exact = x.double() @ a.double().t() @ b.double().t()
    error = (up(down(x)) - exact).abs().amax(0)
    assert (error <= 2e-6 * exact.abs().amax(0) + 1e-43).all()


def test_an_adapter_as_training_writes_it_is_held_as_halves(machine: str) -> None:
    torch.manual_seed(0)
    for rank in (1, 8, 24, 48):
        down, _ = products.thin_products(torch.randn(rank, 256) * 1e-2, torch.randn(1376, rank))
        assert down(torch.ones(1, 256)).shape[1] == (4 * rank if machine != "none" else rank)
