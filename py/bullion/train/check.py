"""A spec against reality before anything is loaded: every fault at once. Imports no torch."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bullion.contract.errors import Refusal, missing_package
from bullion.contract.recipe import TrainSpec


def check(spec: TrainSpec) -> None:
    """Raises Refusal: the one fault, or `invalid_recipe` naming all of them."""
    faults = list(_faults(spec))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        listed = "; ".join(f"{fault.param}: {fault.message}" for fault in faults)
        raise Refusal(
            "invalid_recipe", f"Cannot train for {len(faults)} reasons. {listed}", faults[0].param
        )


def _faults(spec: TrainSpec) -> Iterator[Refusal]:
    from bullion.train.optimizer import OPTIMIZERS, SAME
    from bullion.train.report import refuse_unknown
    from bullion.train.schedule import SCHEDULES

    def bad(param: str, message: str) -> Refusal:
        return Refusal("invalid_recipe", message, param)

    if spec.schedule.type not in SCHEDULES:
        known = ", ".join(SCHEDULES)
        yield Refusal(
            "unknown_schedule",
            f"There is no learning-rate schedule {spec.schedule.type!r}; known are {known}",
            "lr_scheduler_type",
        )
    if spec.optimizer.name not in (*OPTIMIZERS, *SAME):
        yield Refusal(
            "unknown_optimizer",
            f"There is no optimiser {spec.optimizer.name!r}; known are {', '.join(OPTIMIZERS)}",
            "optim",
        )
    needs_8bit = SAME.get(spec.optimizer.name, spec.optimizer.name) == "adamw_8bit"
    if (needs_8bit or spec.quantization) and importlib.util.find_spec("bitsandbytes") is None:
        bit = spec.quantization.bit if spec.quantization else None
        what, param = (
            (f"optim {spec.optimizer.name}", "optim")
            if needs_8bit
            else (f"quantization_bit {bit}", "quantization_bit")
        )
        yield missing_package(what, "bitsandbytes", param)
    if spec.optimizer.learning_rate <= 0:
        yield bad("learning_rate", f"it must be above 0, not {spec.optimizer.learning_rate:g}")
    if (fault := refuse_unknown(spec.logging.report_to)) is not None:
        yield fault
    length = spec.length
    for name, value in (
        ("per_device_train_batch_size", length.batch_size),
        ("gradient_accumulation_steps", length.accumulation),
        ("per_device_eval_batch_size", length.eval_batch_size),
        ("logging_steps", spec.logging.steps),
        ("save_steps", spec.saving.steps),
        ("eval_steps", spec.evaluation.steps),
        ("lora_rank", spec.lora.rank),
        ("cutoff_len", spec.data.cutoff_len),
    ):
        if value < 1:
            yield bad(name, f"it must be 1 or more, not {value}")
    if length.max_steps < 1 and length.epochs <= 0:
        yield bad("num_train_epochs", f"it must be above 0, not {length.epochs:g}")
    yield from _evaluation_faults(spec, bad)
    if spec.data.mask_history and spec.data.train_on_prompt:
        yield bad("mask_history", "it contradicts train_on_prompt; choose one of the two")
    if spec.precision.compute_dtype == "fp8" and (why := _needs_another_step(spec)):
        yield bad("compute_dtype", f"fp8 contradicts {why}; leave it at auto")
    for path in (*spec.data.train, *spec.data.eval):
        if not os.path.isfile(path):
            yield Refusal("file_not_found", f"There is no data file {path}", "dataset")
    if (
        spec.resume_from is not None
        and not (Path(spec.resume_from) / "trainer_state.json").is_file()
    ):
        yield Refusal(
            "checkpoint_not_found",
            f"There is no complete checkpoint in {spec.resume_from}; name another checkpoint-N folder "
            "in resume_from_checkpoint, or set overwrite_output_dir: true for a new start",
            "resume_from_checkpoint",
        )


def _needs_another_step(spec: TrainSpec) -> str | None:
    """The key that only the general step knows, which computes in bf16 or fp32; None without one."""
    wanted = {
        "quantization_bit": spec.quantization is not None,
        "use_dora": spec.lora.use_dora,
        "additional_target": bool(spec.lora.additional_target),
        "neftune_noise_alpha": bool(spec.optimizer.neftune_noise_alpha),
        "fp32 (write bf16: true)": spec.precision.dtype == "fp32",
    }
    return next((key for key, written in wanted.items() if written), None)


def _evaluation_faults(spec: TrainSpec, bad: Any) -> Iterator[Refusal]:
    held_out = bool(spec.data.eval) or spec.data.val_size > 0
    evaluation, saving = spec.evaluation, spec.saving
    if spec.data.eval and spec.data.val_size > 0:
        yield bad("val_size", "it contradicts eval_dataset; choose one of the two")
    if evaluation.strategy != "no" and not held_out:
        yield bad("eval_strategy", "there is nothing to evaluate on; give eval_dataset or val_size")
    if evaluation.early_stopping_steps is not None and evaluation.strategy == "no":
        yield bad("early_stopping_steps", "it needs evaluations; set eval_strategy")
    if evaluation.load_best_model_at_end:
        if evaluation.strategy == "no" or saving.strategy != evaluation.strategy:
            yield bad(
                "load_best_model_at_end",
                f"save_strategy ({saving.strategy}) and eval_strategy ({evaluation.strategy}) must "
                "be the same and not no",
            )
        elif saving.strategy == "steps" and saving.steps % evaluation.steps:
            yield bad(
                "load_best_model_at_end",
                f"save_steps {saving.steps} must be a multiple of eval_steps {evaluation.steps}",
            )


def resolved(spec: TrainSpec) -> dict[str, Any]:
    """The spec as plain values, as it is said in the first event."""
    return json.loads(json.dumps(asdict(spec)))
