"""Two ways to the same optimiser step: Transformers + PEFT as LLaMA-Factory runs it, and Bullion's.

Each is a generator that has done one step, on the device, whenever it yields that step's loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from bullion.data.packing import join
from bullion.data.supervise import IGNORED, Example
from bullion.train.optimizer import Optimizer
from torch import Tensor

from training.job import OPTIMIZER


def peft_loop(
    model: Any, steps: Sequence[Sequence[Example]], device: torch.device, recompute: bool = True
) -> Iterator[Tensor]:
    """Batch 1 × accumulation, autocast, SDPA and (as the reference has it) gradient checkpointing."""
    model.train()
    if recompute:
        model.base_model.model.gradient_checkpointing_enable({"use_reentrant": True})
        model.base_model.model.enable_input_require_grads()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=OPTIMIZER.learning_rate, fused=True)
    for step in steps:
        trained = sum(label != IGNORED for e in step for label in e.labels[1:])
        total = torch.zeros((), device=device)
        for example in step:
            ids = torch.tensor([example.input_ids]).to(device)
            labels = torch.tensor([example.labels]).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = model(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    labels=labels,
                    num_items_in_batch=trained,
                ).loss
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(parameters, OPTIMIZER.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        yield total
    if recompute:
        model.base_model.model.gradient_checkpointing_disable()
        model.base_model.model.disable_input_require_grads()
    model.eval()


def packed_loop(
    stepper: Any, steps: Sequence[Sequence[Example]], optimizer: Optimizer
) -> Iterator[Tensor]:
    """The records of a step in one pack, as the recipe runs it."""
    for step in steps:
        pack = join(step)
        loss = stepper.accumulate(pack, int((pack.labels != IGNORED).sum()))
        optimizer.step(1.0)
        yield loss
