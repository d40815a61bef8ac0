"""The steps of one job and everything that is due between them: logs, evaluations, checkpoints.

The only holder of the job's step, random streams and report; what a step computes is the stepper's.
In one file because what is due after a step reads and moves that one state.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bullion.contract.errors import Refusal
from bullion.contract.recipe import TrainSpec
from bullion.contract.worker import (
    CheckpointEvent,
    CheckpointRemovedEvent,
    EvaluatedEvent,
    Event,
    Interruption,
    MessageEvent,
    ProgressEvent,
)
from bullion.data.examples import Examples
from bullion.data.packing import join, micro_packs
from bullion.models import lora
from bullion.train import checkpoint as disk
from bullion.train.evaluate import Best, Evaluation
from bullion.train.meter import Meter, Pace, Reading
from bullion.train.optimizer import Optimizer
from bullion.train.outcome import peak_memory, train_results, write_outcome
from bullion.train.report import Report
from bullion.train.resume import Resumed
from bullion.train.schedule import Course, learning_rate
from bullion.train.step import Stepper

LIVE_SECONDS = 1.0  # a progress event at least this often


class Run:
    """Iterate `steps`, then `conclude`, then call `leave`. `stopped` says whether somebody ended it."""

    def __init__(
        self,
        spec: TrainSpec,
        job_id: str,
        device: torch.device,
        model: Any,
        stepper: Stepper,
        optimizer: Optimizer,
        examples: Examples,
        course: Course,
        fingerprint: dict[str, Any],
        pack_tokens: int | None,
    ) -> None:
        self.spec, self.id, self.device = spec, job_id, device
        self.model, self.stepper, self.optimizer = model, stepper, optimizer
        self.examples, self.course = examples, course
        self.fingerprint, self.pack_tokens = fingerprint, pack_tokens
        self.output = Path(spec.output_dir)
        self.factor = learning_rate(spec.schedule, spec.optimizer.learning_rate, course.total_steps)
        self.report = Report(self.output, spec, course.total_steps)
        self.saves = disk.Checkpoints(self.output, model, spec.model.name, spec.saving.total_limit)
        self.best = Best()
        self.stopped: Literal["cancel", "pause"] | None = None
        self.seconds = 0.0
        self._step, self._first = 0, 1  # the newest step; the first one of this run
        self._asked = 0.0  # when numbers were last asked for
        self._resumable = 0  # the newest step from whose checkpoint a job can go on
        self._meter = Meter()
        self._readings: deque[Reading] = deque()
        self._progress: ProgressEvent | None = None
        self._evaluated: EvaluatedEvent | None = None

    def steps(self, interruption: Interruption, resumed: Resumed | None) -> Iterator[Event]:
        """Every step, from the first or from where a checkpoint left off, with all that is due after it."""
        disk.sweep(self.output)
        self.report.start(resumed.state if resumed else None)
        if resumed:
            self._step = self._resumable = resumed.step
            self.saves.inherit(resumed.step)
            self.best = Best(**resumed.state["bullion"]["best"])
            disk.restore_randomness(resumed.randomness)
        self._first = self._step + 1
        total = self.course.total_steps
        lengths = [len(example) for example in self.examples.train]
        held_out = sum(len(example) for example in self.examples.eval)
        asked = self.spec.evaluation
        evaluations = self.course.steps_due(asked.strategy, asked.steps)
        self._pace = Pace(self.course.sums(lengths), self._step, evaluations, held_out)
        began = time.monotonic()
        try:
            while self._step < total and not self._patience_is_over():
                self.stopped = interruption() or self._take_step(interruption)
                if self.stopped:
                    break
                yield from self._due(interruption)
                if self.stopped:
                    break
            yield from self._arrived(wait=True)
            if self.stopped == "pause" and self._step > self._resumable:
                yield from self._save(whole=True)
            yield from self._on_disk(wait=True)
            if self._patience_is_over():
                yield self._early_stop()
        except OSError as raised:  # the log's lines need room as well
            raise disk.no_room(raised, self.output) or raised from raised
        finally:
            self.seconds = time.monotonic() - began
            self.saves.close()
            if self.stopped or sys.exc_info()[0] is not None:
                self.report.close()

    def _take_step(self, interruption: Interruption) -> Literal["cancel"] | None:
        """One optimiser step; a cancel between two micro-packs abandons it."""
        step = self._step + 1
        examples = [self.examples.train[i] for i in self.course.records_of(step)]
        divisor = max(1, sum(example.trained_tokens for example in examples))
        loss: Tensor | None = None
        for part in micro_packs(examples, self.pack_tokens):
            if loss is not None and interruption() == "cancel":
                return "cancel"
            share = self.stepper.accumulate(join(part), divisor)
            loss = share if loss is None else loss + share
        assert loss is not None
        norm = self.optimizer.step(self.factor(step))
        self._step = step
        self._meter.add(loss)
        if self._wants_numbers(step):
            self._readings.append(self._meter.read(step, norm))
            self._asked = time.monotonic()
        return None

    def _wants_numbers(self, step: int) -> bool:
        logged = step % self.spec.logging.steps == 0 or step in (1, self.course.total_steps)
        return logged or time.monotonic() - self._asked >= LIVE_SECONDS

    def _due(self, interruption: Interruption) -> Iterator[Event]:
        yield from self._arrived()
        yield from self._on_disk()
        step, spec = self._step, self.spec
        gained = False
        if self.course.due(step, spec.evaluation.strategy, spec.evaluation.steps):
            yield from self._evaluate(interruption)
            if self.stopped:
                return
            gained = self.best.step == step and spec.evaluation.load_best_model_at_end
        saving = spec.saving
        last = step == self.course.total_steps and saving.strategy != "no"
        if gained or last or self.course.due(step, saving.strategy, saving.steps):
            yield from self._save()

    def _arrived(self, wait: bool = False) -> Iterator[ProgressEvent]:
        """The progress that has become known; with `wait` all there is, to the newest step."""
        if wait and self._meter.pending:
            self._readings.append(self._meter.read(self._step, self.optimizer.last_norm))
        while self._readings and (wait or self._readings[0].ready()):
            reading = self._readings.popleft()
            losses, norm = reading.read()
            self._assert_finite(reading.step, "loss", sum(losses) / len(losses))
            # The step was taken with these gradients: the adapter is lost, though the loss is not.
            self._assert_finite(reading.step, "gradient norm", norm)
            self.report.losses(losses)
            seconds, rate, left = self._pace.mark(reading.step)
            self._progress = ProgressEvent(
                self.id,
                reading.step,
                self.course.total_steps,
                self.course.epoch_after(reading.step),
                sum(losses) / len(losses),
                self.factor(reading.step) * self.spec.optimizer.learning_rate,
                norm,
                self._pace.tokens(reading.step),
                round(rate, 1),
                round(seconds, 3),
                round(left, 3),
            )
            self.report.progress(self._progress)
            yield self._progress

    def _assert_finite(self, step: int, what: str, value: float) -> None:
        if math.isfinite(value):
            return
        rate, alpha = self.spec.optimizer.learning_rate, self.spec.lora.alpha
        raise Refusal(
            "diverged",
            f"Cannot go on after step {step} as its {what} is {value}, no finite number: lower "
            f"learning_rate ({rate:g}) or lora_alpha ({alpha:g}), or lengthen the warm-up",
            "learning_rate",
        )

    def _evaluate(self, interruption: Interruption | None) -> Iterator[Event]:
        yield from self._arrived(wait=True)
        began = time.monotonic()
        evaluation = Evaluation(
            self.stepper,
            self.examples.eval,
            self.spec.length.eval_batch_size,
            self.spec.evaluation.compute_accuracy,
            self.pack_tokens,
        )
        for _ in evaluation.batches():
            if interruption is not None and interruption() == "cancel":
                self.stopped = "cancel"
                return
        loss, metrics = evaluation.result()
        self._assert_finite(self._step, "eval_loss", loss)
        self._pace.evaluated(time.monotonic() - began)
        epoch = self.course.epoch_after(self._step)
        self._evaluated = EvaluatedEvent(self.id, self._step, epoch, loss, metrics)
        self.best.note(self._step, loss)
        assert self._progress is not None  # the first step always reports
        self.report.evaluated(self._evaluated, self._progress)
        yield self._evaluated

    def _save(self, whole: bool = False) -> Iterator[Event]:
        """Begin a checkpoint of the newest step; the one before must be on disk first.

        `whole`: one that a job can go on from, also with save_only_model.
        """
        yield from self._arrived(wait=True)
        yield from self._on_disk(wait=True)
        whole = whole or not self.spec.saving.only_model
        optimizer = self.optimizer.state() if whole else None
        epoch = self.course.epoch_after(self._step)
        self.saves.begin(
            disk.snapshot(self.model, optimizer, self._step, epoch, self._state(epoch))
        )
        if whole:
            self._resumable = self._step

    def _on_disk(self, wait: bool = False) -> Iterator[Event]:
        """The checkpoint that has reached the disk, and those that had to go for it."""
        done = self.saves.finished(wait)
        if done is None:
            return
        metrics: dict[str, float] = {}
        if self._evaluated is not None and self._evaluated.step == done.step:
            metrics = {"eval_loss": self._evaluated.eval_loss, **self._evaluated.metrics}
        yield CheckpointEvent(self.id, done.step, done.epoch, str(done.path), metrics)
        for removed in self.saves.prune(self._best_path()):
            yield CheckpointRemovedEvent(self.id, removed.step, str(removed.path))

    def _best_path(self) -> Path | None:
        if not self.spec.evaluation.load_best_model_at_end or self.best.step is None:
            return None
        return self.output / f"checkpoint-{self.best.step}"

    def _patience_is_over(self) -> bool:
        patience = self.spec.evaluation.early_stopping_steps
        return patience is not None and self.best.without_gain >= patience

    def _early_stop(self) -> MessageEvent:
        text = (
            f"Stopped after step {self._step}: {self.best.without_gain} evaluations brought no "
            f"lower loss than {self.best.loss:.4f} at step {self.best.step}"
        )
        data = {"step": self._step, "best_step": self.best.step}
        return MessageEvent(self.id, "early_stop", text, data=data)

    def _state(self, epoch: float) -> dict[str, Any]:
        own = {"fingerprint": self.fingerprint}
        return self.report.state(self._step, epoch, self.best.state(), own)

    def conclude(self) -> Iterator[Event]:
        """After the last step: the best adapter, if that was asked for, and a last evaluation."""
        best = self._best_path()
        if best is not None and self.best.step != self._step and best.is_dir():
            lora.restore_adapter(self.model, best)
            text = f"The adapter is that of step {self.best.step}, whose eval_loss is the lowest"
            yield MessageEvent(self.id, "best_model", text, data={"step": self.best.step})
        known = self._evaluated.step if self._evaluated else None
        if self.examples.eval and self._progress and (best is None and known != self._step):
            yield from self._evaluate(None)

    def leave(self, tokenizer: Any) -> dict[str, Any]:
        """Write the adapter, the tokenizer and the reports into the output folder; returns the result."""
        epoch = self.course.epoch_after(self._step)
        evaluated: dict[str, float] = {}
        if self._evaluated:
            evaluated = {"eval_loss": self._evaluated.eval_loss, **self._evaluated.metrics}
        results = train_results(
            self.model, self.course, self._first, self._step, self._pace, self.report, self.seconds
        )
        state = self._state(epoch)
        write_outcome(self.output, self.model, tokenizer, self.spec.model.name)
        try:
            self.report.finish(results, evaluated, state)
        except OSError as raised:
            raise disk.no_room(raised, self.output) or raised from raised
        progress = self._progress
        counts = [example.trained_tokens for example in self.examples.train]
        return {
            "adapter": str(self.output),
            "train_loss": results["train_loss"],
            "steps": self._step,
            "epochs": epoch,
            "tokens": self._pace.tokens(self._step),
            "trained_tokens": sum(self.course.sums(counts, self._step)),
            "train_seconds": round(self.seconds, 3),
            "tokens_per_second": progress.tokens_per_second if progress else 0.0,
            "peak_memory_gb": round(peak_memory(self.device) / 1e9, 3),
            **evaluated,
        }
