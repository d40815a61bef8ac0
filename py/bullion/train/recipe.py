"""LoRA supervised fine-tuning, read from the top: check, encode, load, step, save, report.

One generator: it yields events, looks at `interruption` between passes, and knows no thread, queue
or HTTP. What a step computes is train/step.py's, what happens when is train/schedule.py's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from bullion.contract.errors import Refusal
from bullion.contract.recipe import TrainSpec
from bullion.contract.worker import (
    Event,
    FinishedEvent,
    Interruption,
    MessageEvent,
    StoppedEvent,
)
from bullion.data.examples import Examples, prepare
from bullion.models import lora
from bullion.models.fetch import local_folder
from bullion.models.load import load_base, load_tokenizer
from bullion.train.check import check, resolved
from bullion.train.choose import build_stepper
from bullion.train.llama.fp8 import unsupported
from bullion.train.optimizer import Optimizer
from bullion.train.plan import hold_to, plan
from bullion.train.read_ahead import ReadAhead
from bullion.train.resume import fingerprint, resume
from bullion.train.run import Run
from bullion.train.schedule import Course, warmup_steps


def train(spec: TrainSpec, job_id: str, interruption: Interruption) -> Iterator[Event]:
    """Train an adapter and leave it in `spec.output_dir`; ends with Finished or Stopped.

    Raises Refusal for what the user can mend; any other exception is a fault of ours.
    """

    def say(code: str, text: str, level: Any = "info", **data: Any) -> MessageEvent:
        return MessageEvent(job_id, code, text, level, data)

    def phase(name: str, seconds: float, **more: Any) -> MessageEvent:
        text = f"{name}: {seconds:.1f} s"
        return say("phase", text, phase=name, seconds=round(seconds, 3), **more)

    began = time.monotonic()
    check(spec)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype, remarks = computed_in(spec, device)
    yield say("resolved", "The job as it will run", **resolved(spec), device=str(device))
    for remark in remarks:
        yield say("precision", remark)

    folder = local_folder(spec.model)
    with ReadAhead(folder) as ahead:
        examples = prepare(spec.data, spec.template, spec.seed, load_tokenizer(folder))
        course = Course(len(examples.train), spec.length, spec.seed)
        yield from describe_data(say, spec, examples, course)
        yield phase("encode", time.monotonic() - began)

        chosen = plan(spec, folder, examples, course, device)
        yield say("plan", chosen.text, **chosen.data)
        hold_to(spec.memory.limit_gb, device)
        loading, read = time.monotonic(), ahead.bytes_read
        base = load_base(spec.model, dtype, device, spec.quantization)
    model = lora.attach(base.model, spec.lora, spec.seed, spec.adapter, spec.precision.pure_bf16)
    stepper, notes = build_stepper(model, spec, device, chosen.recompute)
    for note in notes:
        yield replace(note, id=job_id)
    optimizer = Optimizer(stepper.trainable(), spec.optimizer, spec.lora.plus_lr_ratio)
    counted = sum(parameter.numel() for _, parameter in stepper.trainable())
    yield say("parameters", f"{counted:,} parameters are trained", trained=counted)
    yield phase("load", time.monotonic() - loading, read_ahead_gb=round(read / 1e9, 3))

    own = fingerprint(spec, examples, course)
    resumed = resume(spec, model, optimizer, own)
    if resumed is not None:
        yield say("resumed", f"Going on after step {resumed.step}", step=resumed.step)
    run = Run(
        spec,
        job_id,
        device,
        model,
        stepper,
        optimizer,
        examples,
        course,
        own,
        chosen.pack_tokens,
    )
    yield from run.steps(interruption, resumed)
    if run.stopped is not None:
        yield StoppedEvent(job_id, run.stopped)
        return
    yield phase("steps", run.seconds)

    saving = time.monotonic()
    yield from run.conclude()
    result = run.leave(base.tokenizer)
    yield phase("save", time.monotonic() - saving)
    yield FinishedEvent(job_id, {**result, "seconds": round(time.monotonic() - began, 3)})


def computed_in(spec: TrainSpec, device: torch.device) -> tuple[torch.dtype, list[str]]:
    """The dtype of base and computation on this device, and what the user should know of it.

    Raises Refusal for fp8 products on a device that has none.
    """
    asked = spec.precision.dtype
    remarks = []
    if spec.precision.compute_dtype == "fp8":
        if (reason := unsupported(device)) is not None:
            raise Refusal(
                "unsupported_compute_dtype",
                f"Cannot compute in fp8 as {reason}; leave compute_dtype at auto",
                "compute_dtype",
            )
        text = "the base's layers multiply in fp8 (e4m3), a scale a row; losses differ from bf16's"
        remarks.append(f"compute_dtype fp8: {text}")
    if device.type == "cpu":
        if asked != "fp32":
            text = f"{asked} was asked; a CPU computes in fp32, which is exact and here also faster"
            remarks.append(text)
        return torch.float32, remarks
    if asked == "fp16":
        remarks.append("fp16 was asked; bf16 is used: as large, and without overflow")
    return torch.float32 if asked == "fp32" else torch.bfloat16, remarks


def describe_data(
    say: Any, spec: TrainSpec, examples: Examples, course: Course
) -> Iterator[MessageEvent]:
    tokens = sum(len(example) for example in examples.train)
    trained = sum(example.trained_tokens for example in examples.train)
    yield say(
        "data",
        f"{len(examples.train)} records, {tokens:,} tokens, {trained:,} of them trained; "
        f"{course.total_steps} steps, {course.steps_per_epoch} an epoch",
        records=len(examples.train),
        eval_records=len(examples.eval),
        tokens=tokens,
        trained_tokens=trained,
        steps=course.total_steps,
        steps_per_epoch=course.steps_per_epoch,
        warmup_steps=warmup_steps(spec.schedule, course.total_steps),
    )
    if (size := spec.data.val_size) > 0:
        share = f"share: {100 * size:g} % of the records, rounded up,"
        what = share if size < 1 else "count, not a share: so many records"
        text = f"val_size {size:g} is a {what} are held out for evaluation"
        yield say("split", text, val_size=size)
    if (warmup := warmup_steps(spec.schedule, course.total_steps)) >= course.total_steps:
        yield from _endless_warmup(say, spec, warmup, course.total_steps)
    if examples.cut:
        yield say("truncated", examples.cut.text, "warn", **examples.cut.data)
    if examples.spelled:
        named = ", ".join(map(str, examples.spelled[:20]))
        text = f"{len(examples.spelled)} records spell control tokens; they stay text ({named})"
        yield say("spelled_tokens", text, records=examples.spelled)
    if spec.data.packing and not spec.data.neat_packing:
        yield say("packing", "Packed records never see each other, as with neat_packing")


def _endless_warmup(say: Any, spec: TrainSpec, warmup: int, steps: int) -> Iterator[MessageEvent]:
    if spec.schedule.type == "constant":  # which knows no warm-up
        return
    key = "warmup_steps" if spec.schedule.warmup_steps > 0 else "warmup_ratio"
    peak = spec.optimizer.learning_rate * (steps - 1) / warmup
    text = (
        f"The warm-up of {warmup} steps never ends, as the job has {steps}: the learning rate "
        f"reaches {peak:.3g} of {spec.optimizer.learning_rate:g}; lower {key}"
    )
    yield say("endless_warmup", text, "warn", warmup_steps=warmup, steps=steps)
