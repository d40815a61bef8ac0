"""Which stepper trains a job. Knows both; neither knows of the other or of this."""

from __future__ import annotations

import torch

from bullion.contract.recipe import TrainSpec
from bullion.contract.worker import MessageEvent
from bullion.train.general import GeneralStepper
from bullion.train.llama import LlamaStepper, obstacle
from bullion.train.step import Recompute, Stepper


def build_stepper(
    peft_model: torch.nn.Module,
    spec: TrainSpec,
    device: torch.device,
    recompute: Recompute = "none",
) -> tuple[Stepper, list[MessageEvent]]:
    """The fastest exact stepper for this model and these methods, and what the user should know about it.

    The events carry an empty id; the recipe fills it in.
    """
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
