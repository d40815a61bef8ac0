"""A fused linear layer of the base with any number of adapters over it.

It owns how the product is computed on the CPU, and that a row's result never depends on how many
rows are computed beside it. What an adapter is, adapters.py knows.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST_ROWS = 4  # below, a row may be summed in another order
_ROWS = 256  # looked at at once: what that takes stays in the cache
_THIN = 48  # ranks together, up to which more arithmetic costs less than a slower call


@dataclass(frozen=True)
class LoraRows:
    """Which adapter slot works on which rows of a batch; None for the rows: all of them."""

    groups: list[tuple[int, Tensor | None]]


def product(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """x ↦ x Wᵀ + b on the CPU in fp32, for rows x (n, in) of any n, each row by itself to the last bit.
    W (out, in) is of any dtype, b (out,) fp32.

    A handful of rows waits for the weights, so they are held in the fewest bytes: two a weight where
    that loses nothing, four otherwise.

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
    """A power of two that brings the largest weight near fp16's largest number; None for NaN.

    bf16 has fewer digits than fp16 and a wider range: multiplied so, only what is 2³¹ times smaller than
    the largest is rounded at all.
    """
    lowest, highest = torch.aminmax(weight)
    largest = max(-lowest.item(), highest.item())
    return 2.0 ** (15 - math.frexp(largest)[1]) if largest < math.inf else None


def _fits_fp16(weight: Tensor) -> bool:
    """Whether fp16 holds these numbers; the smallest may be rounded to multiples of 2⁻²⁴."""
    return weight.half().float().sub_(weight).abs_().max().item() <= 2.0**-25


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
    """Two matrices that fp16 holds when scaled as the sum is; they differ from it by 2⁻²⁴ of a weight."""
    if (scale := _scale(weight)) is None:
        return None
    high = (weight * scale).half().float()
    low = (weight * scale - high).half().float()
    return high / scale, low / scale


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


class Site:
    """One fused layer and what adapters add to it. `parts` are the row counts that it joins.

    `order` (out,) says which row of the layer is the output's i-th; weights and adapters are given as
    the model has them.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        parts: Sequence[int],
        order: Tensor | None = None,
    ) -> None:
        self._parts, self._order = parts, order
        bias = bias if bias is None or order is None else bias[order]
        self._base = product(self._ordered(weight), bias)
        self._adapters: dict[
            int, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
        ] = {}

    def put(self, slot: int, parts: Sequence[tuple[Tensor, Tensor] | None]) -> None:
        """Adapter `slot` adds x Aᵀ Bᵀ to each part that it has: A (r, in), B (rows, r)."""
        ranks = [pair[0].shape[0] if pair else 0 for pair in parts]
        down = torch.cat([pair[0] for pair in parts if pair])  # (Σr, in)
        up = torch.zeros(sum(self._parts), sum(ranks))  # block diagonal
        row = column = 0
        for pair, rows, rank in zip(parts, self._parts, ranks, strict=True):
            if pair:
                up[row : row + rows, column : column + rank] = pair[1]
            row, column = row + rows, column + rank
        self._adapters[slot] = thin_products(down, self._ordered(up))

    def drop(self, slot: int) -> None:
        self._adapters.pop(slot, None)

    def __call__(self, x: Tensor, lora: LoraRows | None) -> Tensor:
        """(n, in) → (n, out)"""
        out = self._base(x)
        for slot, rows in lora.groups if lora else ():
            if (pair := self._adapters.get(slot)) is None:
                continue
            down, up = pair
            if rows is None:
                out += up(down(x))
            else:
                out.index_add_(0, rows, up(down(x.index_select(0, rows))))
        return out

    def _ordered(self, weight: Tensor) -> Tensor:
        return weight if self._order is None else weight[self._order]
