"""Does the step compute what Transformers and PEFT compute, on this device, in its precision?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from bullion.data.packing import join
from bullion.data.supervise import IGNORED, Example
from bullion.train.llama import LlamaStepper

from training.job import LLAMA_3_8B, random_llama, spec

Gradients = dict[str, torch.Tensor]


def compare(steps: Sequence[Sequence[Example]], device: torch.device) -> list[str]:
    """Two layers of the 8B shape in bf16: Bullion and PEFT, each against PEFT in fp32."""
    model = random_llama({**LLAMA_3_8B, "num_hidden_layers": 2}, torch.bfloat16, device, 0.02)
    examples = steps[0]
    trained = sum(label != IGNORED for e in examples for label in e.labels[1:])
    theirs, loss = _separate(model, examples, trained, device, cast=True)
    again, _ = _separate(model, examples, trained, device, cast=True)
    lines = [f"PEFT twice, bf16            worst {_worst(again, theirs):.2e}"]
    results: dict[str, tuple[Gradients, float]] = {"PEFT, bf16": (theirs, loss)}
    for recompute in ("none", "selective", "full"):
        stepper = LlamaStepper(model, spec("bf16"), device, recompute)
        for repeat in ("", " again"):
            for _, p in stepper.trainable():
                p.grad.zero_()
            began = time.perf_counter()
            value = stepper.accumulate(join(examples), trained).item()
            if len(lines) == 1:
                lines.append(
                    f"first pass of all, kernels compiled: {time.perf_counter() - began:.1f} s"
                )
            found = {n: p.grad.clone() for n, p in stepper.trainable()}
            results[f"ours, recompute {recompute}{repeat}"] = (found, value)
    model.float()
    exact, exact_loss = _separate(model, examples, trained, device, cast=False)
    for name, (gradients, value) in results.items():
        lines.append(
            f"{name:30s} to fp32: worst {_worst(gradients, exact):.2e} "
            f"mean {_mean(gradients, exact):.2e}, loss {value:.5f} ({value - exact_loss:+.1e}); "
            f"to PEFT bf16: worst {_worst(gradients, theirs):.2e}"
        )
    first, second = results["ours, recompute none"][0], results["ours, recompute none again"][0]
    lines.append(f"ours twice, bf16            worst {_worst(second, first):.2e}")
    return lines


def _separate(
    model: Any, examples: Sequence[Example], trained: int, device: torch.device, cast: bool
) -> tuple[Gradients, float]:
    for parameter in model.parameters():
        parameter.grad = None
    total = 0.0
    for example in examples:
        ids = torch.tensor([example.input_ids], device=device)
        labels = torch.tensor([example.labels], device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=cast):
            loss = model(input_ids=ids, labels=labels, num_items_in_batch=trained).loss
        loss.backward()
        total += loss.item()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}, total


def _differences(ours: Gradients, theirs: Gradients) -> list[float]:
    return [((ours[n] - theirs[n]).norm() / theirs[n].norm()).item() for n in theirs]


def _worst(ours: Gradients, theirs: Gradients) -> float:
    return max(_differences(ours, theirs))


def _mean(ours: Gradients, theirs: Gradients) -> float:
    found = _differences(ours, theirs)
    return sum(found) / len(found)
