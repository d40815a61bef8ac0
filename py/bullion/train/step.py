"""The seam between the recipe and the arithmetic of a step: what a stepper does.

A stepper adds gradients; the recipe owns order, clipping, optimiser, schedule and files. There are
two: the fast Llama step (train/llama) and the general one (train/general.py); train/choose.py chooses.
"""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Tensor
from torch.nn import Parameter

from bullion.data.packing import Pack

Recompute = Literal["none", "selective", "full"]
"""Which activations are thrown away in the forward pass and computed again in the backward pass."""


class Stepper(Protocol):
    """Forward and backward over packs, for one model on one device. Packs come on the host.

    `trainable()` are PEFT's own parameters (or share their storage): what it trains is what is saved.
    The recipe clears gradients in place and never replaces `.grad`, so gradients may be views of one
    flat buffer. No method waits for the device.
    """

    def accumulate(self, pack: Pack, trained_tokens: int) -> Tensor:
        """Add the gradients of sum(cross-entropy) / trained_tokens to `.grad`; return that share of the loss.

        `trained_tokens` counts the whole optimiser step. The result is 0-d fp32 on the device, detached.
        A pack without a trained token adds nothing and returns 0.
        """
        ...

    def evaluate(self, pack: Pack) -> tuple[Tensor, Tensor]:
        """The sum of the cross-entropy and the number of right top-1 tokens; 0-d, no gradients, no dropout."""
        ...

    def trainable(self) -> list[tuple[str, Parameter]]:
        """The trained parameters with PEFT's names, in the order of the model."""
        ...
