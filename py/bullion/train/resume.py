"""Going on from a checkpoint: everything is put back, or the refusal says what does not fit.

It restores what train/checkpoint.py wrote; the random streams are handed back, to be set last.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from bullion.contract.errors import Refusal
from bullion.contract.recipe import TrainSpec
from bullion.data.examples import Examples
from bullion.models import lora
from bullion.train.checkpoint import OPTIMIZER, RANDOM, STATE
from bullion.train.optimizer import Optimizer
from bullion.train.schedule import Course


@dataclass(frozen=True)
class Resumed:
    """Where a checkpoint left off. `state` is its trainer_state.json."""

    step: int
    state: dict[str, Any]
    randomness: dict[str, Any]


def fingerprint(spec: TrainSpec, examples: Examples, course: Course) -> dict[str, Any]:
    """What must be the same for a checkpoint's steps to be steps of this job."""
    digest = hashlib.sha256()
    for example in examples.train:
        digest.update(numpy.array(example.input_ids, dtype="<i4").tobytes())
        digest.update(numpy.array(example.labels, dtype="<i4").tobytes())
    return {
        "records": digest.hexdigest(),
        "batch": [course.length.batch_size, course.length.accumulation],
        "order": [course.seed, course.length.shuffle],
        "optim": spec.optimizer.name,
        "lora": [spec.lora.rank, spec.lora.alpha, spec.lora.use_dora, spec.lora.pissa_init],
    }


def resume(
    spec: TrainSpec, model: Any, optimizer: Optimizer, own: dict[str, Any]
) -> Resumed | None:
    """Put adapter and optimiser back to `spec.resume_from`; None when the job starts anew.

    Raises Refusal cannot_resume when the checkpoint is of another job or holds the model alone.
    """
    if spec.resume_from is None:
        return None
    folder = Path(spec.resume_from)

    def refusal(why: str) -> Refusal:
        return Refusal(
            "cannot_resume", f"Cannot go on from {folder} as {why}", "resume_from_checkpoint"
        )

    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    if "bullion" not in state:
        raise refusal(
            "another program wrote it; set overwrite_output_dir: true for a new start, from its "
            "adapter with adapter_name_or_path"
        )
    if not (folder / OPTIMIZER).is_file():
        raise refusal("it holds the model alone (save_only_model); start anew from its adapter")
    then = state["bullion"]["fingerprint"]
    if changed := [key for key, value in own.items() if then.get(key) != value]:
        raise refusal(f"this job differs from its own in: {', '.join(changed)}")
    lora.restore_adapter(model, folder)
    where = optimizer.parameters[0].device
    optimizer.restore(torch.load(folder / OPTIMIZER, map_location=where, weights_only=True))
    randomness = torch.load(folder / RANDOM, map_location="cpu", weights_only=True)
    return Resumed(int(state["global_step"]), state, randomness)
