"""The frozen products of a group in fp8 (e4m3) with a scale for every row; LoRA stays in bf16.

W is quantised twice when it is taken over, by output row for y = x·Wᵀ and by input column for
dx = dy·W; x and dy are quantised row by row when they come. The adapters are products of their own,
added afterwards. It owns the quantised weights; the weights of the modules become views of them.

Legend: T tokens; K in-features, N out-features of the group; R padded sum of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from bullion.train.llama.linear import Dropout, LinearGroup
from bullion.train.llama.shape import LlamaShape

FP8 = torch.float8_e4m3fn
MULTIPLE = 16  # of both sides of a matrix, for the product on the tensor cores
CAPABILITY = (8, 9)  # Ada and Hopper are the first with such products


@dataclass(frozen=True)
class Rows:
    """A matrix by rows: values · scales is what it stands for. values: e4m3, scales: (rows, 1) fp32."""

    values: Tensor
    scales: Tensor


def quantised(x: Tensor, operations: ModuleType) -> Rows:
    """x: (rows, columns), rows may have spare columns behind them."""
    values = torch.empty(x.shape, dtype=FP8, device=x.device)
    scales = torch.empty(x.shape[0], 1, dtype=torch.float32, device=x.device)
    operations.quantise(x, values, scales)
    return Rows(values, scales)


def product(left: Rows, right: Rows, out: Tensor) -> None:
    """out: (T, N) = left (T, K) · right (N, K)ᵀ, summed in the tensor cores' fast accumulators."""
    whole = out.is_contiguous()
    into = out if whole else torch.empty(out.shape, dtype=out.dtype, device=out.device)
    torch._scaled_mm(
        left.values,
        right.values.t(),
        scale_a=left.scales,
        scale_b=right.scales.t(),
        out_dtype=out.dtype,
        use_fast_accum=True,
        out=into,
    )
    if not whole:
        out.copy_(into)


class Fp8Linear(LinearGroup):
    """`operations`: the module eager, or kernels on CUDA."""

    def __init__(self, modules: Sequence[Any], spare: int, operations: ModuleType) -> None:
        super().__init__(modules, spare)
        self._operations = operations
        joined = torch.cat([weight.data for weight in self.weights])  # (N, K)
        self._forth = quantised(joined, operations)
        self._back = quantised(joined.t().contiguous(), operations)  # (K, N)
        self.a = joined.new_zeros(self.rank, self.inputs).t()
        self.b = joined.new_zeros(self.outputs, self.rank)
        row = 0
        for weight in self.weights:
            weight.data = self._forth.values[row : row + weight.shape[0]]
            row += weight.shape[0]

    def forward(self, x: Tensor, y: Tensor, drop: Dropout | None = None) -> None:
        self.forward_apart(x[:, : self.inputs], x[:, self.inputs :], y, drop)

    def forward_apart(self, x: Tensor, t: Tensor, y: Tensor, drop: Dropout | None = None) -> None:
        product(quantised(x, self._operations), self._forth, y)
        if self.used:
            self.narrow(x, t, drop)
            y.addmm_(t[:, : self.used], self.b[:, : self.used].t())

    def backward(self, dy: Tensor, dx: Tensor | None, drop: Dropout | None = None) -> None:
        self.narrow_back(dy)
        if dx is None:
            return
        product(quantised(dy[:, : self.outputs], self._operations), self._back, dx)
        if drop is not None:
            self.add_dropped(dy, dx, drop)
        elif self.used:
            dt = dy[:, self.outputs : self.outputs + self.used]
            dx.addmm_(dt, self.a[:, : self.used].t())


def unsupported(device: torch.device) -> str | None:
    """Why this device has no fp8 products, as the end of a sentence; None when it has."""
    if device.type != "cuda":
        return f"a {device.type.upper()} has no fp8 products"
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < CAPABILITY:
        return f"this GPU (compute capability {major}.{minor}) has no fp8 products; 8.9 has"
    return None


def odd_shape(shape: LlamaShape) -> str | None:
    """Why the matrices of this shape do not fit the product; None when they do."""
    sides = {shape.hidden, shape.q_width, shape.qkv_width, shape.mlp}
    odd = sorted(side for side in sides if side % MULTIPLE)
    return f"its layers are {odd[0]} wide, no multiple of {MULTIPLE}" if odd else None
