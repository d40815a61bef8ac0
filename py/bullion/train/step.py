"""The seam between the recipe and the arithmetic of a step: what a stepper does, and which one runs.

A stepper adds gradients; the recipe owns order, clipping, optimiser, schedule and files. It does not
own the fast Llama step (train/llama) nor the general one (train/general.py).
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from bullion.contract.recipe import TrainSpec
from bullion.contract.worker import MessageEvent
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


def build_stepper(
    peft_model: torch.nn.Module,
    spec: TrainSpec,
    device: torch.device,
    recompute: Recompute = "none",
) -> tuple[Stepper, list[MessageEvent]]:
    """The fastest exact stepper for this model and these methods, and what the user should know about it.

    The events carry an empty id; the recipe fills it in.
    """
    from bullion.train.general import GeneralStepper
    from bullion.train.llama import LlamaStepper, obstacle

    reason = obstacle(peft_model, spec, device)
    if reason is None:
        return LlamaStepper(peft_model, spec, device, recompute), [
            MessageEvent(
                "", "stepper", "The fast Llama step trains this job", data={"path": "fast"}
            )
        ]
    stepper = GeneralStepper(peft_model, spec, device, recompute)
    text = f"The general step trains this job, exact but slower, because {reason}"
    data = {"path": "general", "reason": reason, "packed": stepper.packs_records}
    return stepper, [MessageEvent("", "stepper", text, data=data)]
