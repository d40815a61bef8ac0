"""Products with a base's and an adapter's matrices on the CPU, in fp32.

It owns what a matrix is held in, and that a row's result never depends on how many rows are computed
beside it. A step of a few rows waits for the weights, so they are held in the fewest bytes: two a weight
where that rounds none of them, four otherwise.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST_ROWS = 4  # below, a row may be summed in another order
_ROWS = 256  # looked at at once: what that takes stays in the cache
_THIN = 48  # ranks together, up to which more arithmetic costs less than a slower call


def product(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """x ↦ x Wᵀ + b on the CPU in fp32, for rows x (n, in) of any n, each row by itself to the last bit.
    W (out, in) is of any dtype, b (out,) fp32.

    From four rows on, the libraries sum every row in the same order whatever n is (a test looks);
    below, some machines choose another kernel for some layers. So each layer is tried out, and fewer
    rows are padded where one shows.
    """
    multiply = _in_two_bytes(weight, bias) or _in_four_bytes(weight, bias)

    def padded(x: Tensor) -> Tensor:
        n = x.shape[0]
        if n >= FEWEST_ROWS:
            return multiply(x)
        return multiply(F.pad(x, (0, 0, 0, FEWEST_ROWS - n)))[:n]

    return multiply if _same_for_few_rows(multiply, weight.shape[1]) else padded


def _in_four_bytes(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """oneDNN with weights packed for it is 2 to 3 times faster than BLAS at a handful of rows."""
    weight = weight.float()
    if not torch.backends.mkldnn.is_available():
        return lambda x: F.linear(x, weight, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 8)
    linear = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: linear(x, packed, bias, "none", [], "")


def _in_two_bytes(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor] | None:
    """FBGEMM's product of fp32 rows with fp16 weights, summed in fp32; None where it would not be that
    of the weights themselves, or where this machine has none."""
    if (scale := _scale(weight)) is None or not has_fp16_products():
        return None
    raised = weight.to(torch.float32, copy=True).mul_(scale)
    if not all(_fits_fp16(rows) for rows in raised.split(_ROWS)):
        return None
    packed = torch.fbgemm_pack_gemm_matrix_fp16(raised)
    scaled = None if bias is None else bias * scale
    linear = torch.fbgemm_linear_fp16_weight_fp32_activation
    return lambda x: linear(x, packed, scaled).mul_(1 / scale)


def _scale(weight: Tensor) -> float | None:
    """A power of two that brings the largest weight near fp16's largest number; None where one is not finite.

    bf16 has fewer digits than fp16 and a wider range: multiplied so, only what is 2³¹ times smaller than
    the largest is rounded at all.
    """
    lowest, highest = torch.aminmax(weight)
    largest = max(-lowest.item(), highest.item())
    return 2.0 ** (15 - math.frexp(largest)[1]) if largest < math.inf else None


def _fits_fp16(weight: Tensor) -> bool:
    return _sums_alike(weight, weight.half().float(), 24)


def _sums_alike(weight: Tensor, held: Tensor, digits: int) -> bool:
    """Whether sums over `held` are those over `weight`, to fp32's own precision: in each row nothing is
    off by what shows beside its largest number, and all but a hundredth have `digits` right, so that
    one outlier, whose input may be zero, hides no row."""
    size, error = weight.abs(), (held - weight).abs()
    near = error <= size.amax(1, keepdim=True) * 2.0**-22
    coarse = (error > size * 2.0**-digits).sum(1)
    return bool(near.all() and (coarse <= weight.shape[1] // 100 + 1).all())


@cache
def has_fp16_products() -> bool:
    """Whether this processor and this PyTorch have them. PyTorch warns that it means to drop them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            packed = torch.fbgemm_pack_gemm_matrix_fp16(torch.ones(8, 8))
            torch.fbgemm_linear_fp16_weight_fp32_activation(torch.ones(1, 8), packed, None)
        except (AttributeError, RuntimeError):
            return False
    return True


def thin_products(
    down: Tensor, up: Tensor
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The two products of x ↦ x Aᵀ Bᵀ for an adapter's A (r, in) and B (out, r).

    Trained in fp32, they fit no two bytes. Each is the sum of two that do, to fp32's own precision, so
    that (A + a)(B + b) is one product with A, a, A, a beside each other and one with B, B, b, b: more
    arithmetic, but of small matrices what counts is how quickly a product is called.
    """
    if down.shape[0] <= _THIN and has_fp16_products():
        if (first := _halves(down)) and (second := _halves(up)):
            down = torch.cat([*first, *first])
            up = torch.cat([second[0], second[0], second[1], second[1]], dim=1)
    return product(down, None), product(up, None)


def _halves(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Two matrices that fp16 holds when scaled as the sum is; they differ from it by 2⁻²³ of a weight.
    None where an outlier leaves the others too few digits."""
    if (scale := _scale(weight)) is None:
        return None
    raised = weight * scale
    high = raised.half().float()
    low = (raised - high).half().float()
    return (high / scale, low / scale) if _sums_alike(raised, high + low, 16) else None


@torch.inference_mode()
def _same_for_few_rows(multiply: Callable[[Tensor], Tensor], size: int) -> bool:
    """Whether rows alone, in twos and threes come out as they do among four. Orders of summing that
    differ show in random numbers, of which a layer has dozens at least."""
    rows = torch.randn(FEWEST_ROWS, size, generator=torch.Generator().manual_seed(0))
    together = multiply(rows)
    return all(
        torch.equal(torch.cat([multiply(few) for few in rows.split(n)]), together)
        for n in range(1, FEWEST_ROWS)
    )
