"""Which stepper trains a job. Knows both; neither knows of the other or of this."""

from __future__ import annotations

from typing import Any

import torch

from bullion.contract.errors import Refusal
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

    The events carry an empty id; the recipe fills it in. Raises Refusal when fp8 products were asked
    for and the Llama step cannot train this model.
    """
    reason = obstacle(peft_model, spec, device)
    fp8 = spec.precision.compute_dtype == "fp8"
    if reason is None:
        text = "The fast Llama step trains this job" + ", its frozen products in fp8" * fp8
        data: dict[str, Any] = {"path": "fast", "compute_dtype": spec.precision.compute_dtype}
        made = LlamaStepper(peft_model, spec, device, recompute)
        return made, [MessageEvent("", "stepper", text, data=data)]
    if fp8:
        raise Refusal(
            "unsupported_compute_dtype",
            f"Cannot compute in fp8 as {reason}; leave compute_dtype at auto",
            "compute_dtype",
        )
    stepper = GeneralStepper(peft_model, spec, device, recompute)
    text = f"The general step trains this job, exact but slower, because {reason}"
    data = {"path": "general", "reason": reason, "packed": stepper.packs_records}
    return stepper, [MessageEvent("", "stepper", text, data=data)]
