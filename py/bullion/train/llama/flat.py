"""One flat buffer for all adapter weights and one for their gradients.

PEFT's parameters become views of it, so what trains is what PEFT saves. Within a group of products
that share their input all A stand together, then all B, which lets one kernel write a group's
gradients. It does not clip and owns no optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

ALIGNMENT = 64  # elements: every group starts on a cache line


class FlatAdapter:
    """`groups`: the parameters in the order they shall lie in memory, one list a group."""

    def __init__(self, groups: Sequence[Sequence[Parameter]], device: torch.device) -> None:
        parameters = [p for group in groups for p in group]
        dtypes = {p.dtype for p in parameters}
        if len(dtypes) != 1:
            raise AssertionError(f"adapter parameters of several types: {dtypes}")
        self.offsets: dict[Parameter, int] = {}
        size = 0
        for group in groups:
            size = -(-size // ALIGNMENT) * ALIGNMENT
            for parameter in group:
                self.offsets[parameter] = size
                size += parameter.numel()
        self.weights = torch.zeros(size, dtype=dtypes.pop(), device=device)
        self.gradients = torch.zeros(size, dtype=torch.float32, device=device)
        self._narrow = self.weights.dtype != torch.float32
        for parameter in parameters:
            view = self._view(self.weights, parameter)
            view.copy_(parameter.data)
            parameter.data = view
            if not self._narrow:
                parameter.grad = self.gradient(parameter)

    def gradient(self, parameter: Parameter) -> Tensor:
        """The fp32 gradient of one parameter, a view."""
        return self._view(self.gradients, parameter)

    def publish(self) -> None:
        """After a backward pass: every `.grad` holds the sum of what was accumulated.

        In fp32 `.grad` is the buffer itself. Narrower parameters (pure_bf16) get a rounded copy added
        and the buffer starts again at zero.
        """
        for parameter in self.offsets:
            view = self.gradient(parameter)
            if not self._narrow:
                if parameter.grad is None:  # somebody set it to None instead of zeroing it
                    raise AssertionError("gradients must be zeroed in place, not dropped")
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.add_(view)
        if self._narrow:
            self.gradients.zero_()

    def _view(self, flat: Tensor, parameter: Parameter) -> Tensor:
        start = self.offsets[parameter]
        return flat[start : start + parameter.numel()].view(parameter.shape)
