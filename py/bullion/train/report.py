"""What a job leaves beside its adapter, under LLaMA-Factory's names.

trainer_log.jsonl while it runs, trainer_state.json (also in checkpoints), train_results.json,
all_results.json, training_loss.png and TensorBoard files. It measures nothing itself.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from bullion.contract.errors import Refusal, missing_package
from bullion.contract.recipe import TrainSpec
from bullion.contract.worker import EvaluatedEvent, ProgressEvent

LOG = "trainer_log.jsonl"


class Report:
    """The log of one job. `history` is trainer_state.json's log_history."""

    def __init__(self, output: Path, spec: TrainSpec, total_steps: int) -> None:
        self.output = output
        self.history: list[dict[str, Any]] = []
        self._spec = spec
        self._total = total_steps
        self._since_log: list[float] = []
        self.loss_sum = 0.0
        self.steps_seen = 0
        self._board: Any = None

    def start(self, state: dict[str, Any] | None) -> None:
        """Begin an empty log, or go on from a checkpoint's state: later lines of it are dropped."""
        self.output.mkdir(parents=True, exist_ok=True)
        path = self.output / LOG
        step = 0
        kept: list[str] = []
        if state is not None:
            step = int(state["global_step"])
            own = state["bullion"]
            self.history = list(state["log_history"])
            self._since_log = list(own["losses_since_log"])
            self.loss_sum, self.steps_seen = own["loss_sum"], own["steps_seen"]
            if path.is_file():
                lines = path.read_text(encoding="utf-8").splitlines()
                kept = [line for line in lines if _step_of(line) <= step]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        if "tensorboard" in self._spec.logging.report_to:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.output / "runs"), purge_step=step + 1)

    def losses(self, losses: list[float]) -> None:
        """Every step's loss, once each, in order."""
        self._since_log += losses
        self.loss_sum += sum(losses)
        self.steps_seen += len(losses)

    def progress(self, event: ProgressEvent) -> None:
        """Write a line when the step is one that is logged; its loss is the mean since the last line."""
        if event.step % self._spec.logging.steps:
            return
        loss = sum(self._since_log) / max(len(self._since_log), 1)
        self._since_log = []
        numbers = {
            "loss": round(loss, 4),
            "grad_norm": event.grad_norm,
            "learning_rate": event.learning_rate,
        }
        self.history.append({"epoch": event.epoch, **numbers, "step": event.step})
        self._line(event, loss=round(loss, 4), lr=event.learning_rate)
        self._scalars("train", event.step, {**numbers, "epoch": event.epoch})

    def evaluated(self, event: EvaluatedEvent, last: ProgressEvent) -> None:
        numbers = {"eval_loss": round(event.eval_loss, 4), **event.metrics}
        self.history.append({"epoch": event.epoch, **numbers, "step": event.step})
        self._line(last, eval_loss=round(event.eval_loss, 4))
        self._scalars("eval", event.step, {k.removeprefix("eval_"): v for k, v in numbers.items()})

    def state(
        self, step: int, epoch: float, best: dict[str, Any], own: dict[str, Any]
    ) -> dict[str, Any]:
        """trainer_state.json as transformers' users know it, with our own part under `bullion`."""
        spec = self._spec
        best_step = best.get("step")
        return {
            "best_global_step": best_step,
            "best_metric": best.get("loss"),
            "best_model_checkpoint": best_step and str(self.output / f"checkpoint-{best_step}"),
            "epoch": epoch,
            "eval_steps": spec.evaluation.steps,
            "global_step": step,
            "log_history": list(self.history),
            "logging_steps": spec.logging.steps,
            "max_steps": self._total,
            "num_train_epochs": spec.length.epochs,
            "save_steps": spec.saving.steps,
            "train_batch_size": spec.length.batch_size,
            "bullion": {
                "losses_since_log": list(self._since_log),
                "loss_sum": self.loss_sum,
                "steps_seen": self.steps_seen,
                "best": best,
                **own,
            },
        }

    def finish(
        self, results: dict[str, Any], evaluated: dict[str, Any], state: dict[str, Any]
    ) -> None:
        """The result files and the plot, when all steps are done."""
        summary = {k: v for k, v in results.items() if k.startswith(("train_", "total_flos"))}
        state["log_history"].append(
            {"epoch": state["epoch"], **summary, "step": state["global_step"]}
        )
        everything = {"epoch": results["epoch"], **evaluated, **results}
        write_json(self.output / "train_results.json", results)
        if evaluated:
            write_json(self.output / "eval_results.json", {"epoch": results["epoch"], **evaluated})
        write_json(self.output / "all_results.json", dict(sorted(everything.items())))
        write_json(self.output / "trainer_state.json", state)
        if self._spec.logging.plot_loss:
            from bullion.train.plot import plot_loss

            plot_loss(self.history, self.output / "training_loss.png")
        self.close()

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None

    def _line(self, event: ProgressEvent, **numbers: float) -> None:
        line = {
            "current_steps": event.step,
            "total_steps": event.total_steps,
            **numbers,
            "epoch": round(event.epoch, 4),
            "percentage": round(100 * event.step / event.total_steps, 2),
            "elapsed_time": _clock(event.seconds),
            "remaining_time": _clock(event.seconds_left),
            "throughput": round(event.tokens_per_second, 2),
            "total_tokens": event.tokens,
        }
        with (self.output / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _scalars(self, group: str, step: int, numbers: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(f"{group}/{name}", value, step)


def refuse_unknown(report_to: list[str]) -> Refusal | None:
    """What is wrong with `report_to`, before anything runs."""
    for name in report_to:
        if name not in ("none", "tensorboard"):
            return Refusal(
                "unknown_report_to",
                f"There is no report_to {name!r} here; known are none and tensorboard",
                "report_to",
            )
    if "tensorboard" in report_to:
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            return missing_package("report_to tensorboard", "tensorboard", "report_to")
    return None


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=4) + "\n", encoding="utf-8")


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["current_steps"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62  # a line that a crash cut off


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(seconds)))
