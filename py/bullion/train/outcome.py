"""What a finished job leaves behind: its adapter where users look for it, and its figures.

The adapter's files get their names one by one after all of them are written. It decides nothing.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from bullion.models import lora
from bullion.train import checkpoint as disk
from bullion.train.meter import Pace
from bullion.train.report import Report
from bullion.train.schedule import Course


def write_outcome(output: Path, model: Any, tokenizer: Any, base_name: str) -> None:
    """Adapter and tokenizer into `output`. Raises Refusal disk_full, leaving what was there before."""
    partial = output / "adapter.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        lora.save_adapter(model, partial, base_name)
        tokenizer.save_pretrained(str(partial))
        for file in sorted(partial.iterdir()):
            disk.sync(file)
            os.replace(file, output / file.name)
        partial.rmdir()
        disk.sync(output)
    except Exception as raised:
        shutil.rmtree(partial, ignore_errors=True)
        raise disk.no_room(raised, output) or raised from raised


def train_results(
    model: Any, course: Course, first: int, last: int, pace: Pace, report: Report, seconds: float
) -> dict[str, Any]:
    """train_results.json, with transformers' keys; rates are of this run's steps, `first` to `last`."""
    seconds = max(seconds, 1e-9)
    taken = range(first, last + 1)
    records = sum(len(course.records_of(step)) for step in taken)
    parameters = sum(p.numel() for p in model.parameters())
    embedded = model.get_base_model().get_input_embeddings().weight.numel()
    return {
        "epoch": course.epoch_after(last),
        "num_input_tokens_seen": pace.tokens(last),
        "total_flos": float(6 * pace.tokens(last) * (parameters - embedded)),
        "train_loss": report.loss_sum / max(report.steps_seen, 1),
        "train_runtime": round(seconds, 4),
        "train_samples_per_second": round(records / seconds, 3),
        "train_steps_per_second": round(len(taken) / seconds, 3),
    }


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest: of the CUDA allocator, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
