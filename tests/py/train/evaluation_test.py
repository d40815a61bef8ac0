"""Evaluation, the best model at the end, early stopping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from bullion.contract.recipe import EvaluationSpec, LengthSpec, SavingSpec, TrainSpec
from bullion.data.examples import prepare
from bullion.train.evaluate import Evaluation
from peft import PeftModel
from safetensors.torch import load_file
from small_jobs import of_type, run, write_records
from transformers import AutoModelForCausalLM, AutoTokenizer


def evaluated(spec: TrainSpec, **how: object) -> TrainSpec:
    texts = [[f"What is {i}?", f"It is {i * 37}."] for i in range(100, 107)]
    path = write_records(Path(spec.output_dir).with_suffix(".eval.jsonl"), texts)
    settings = {
        "strategy": "steps",
        "steps": 6,
        "load_best_model_at_end": False,
        "early_stopping_steps": None,
        "compute_accuracy": False,
        **how,
    }
    return replace(
        spec,
        data=replace(spec.data, eval=[path]),
        evaluation=EvaluationSpec(**settings),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("path", ["fast", "general"])
def test_eval_loss_and_accuracy_are_those_of_plain_transformers(
    quick: TrainSpec, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The mean over records of their batch's token mean, and of each record's own accuracy."""
    if path == "general":
        monkeypatch.setattr("bullion.train.choose.obstacle", lambda *_: "the test wants it")
    spec = evaluated(quick, compute_accuracy=True)
    last = of_type(run(spec), "evaluated")[-1]
    tokenizer = AutoTokenizer.from_pretrained(spec.model.path)
    model = AutoModelForCausalLM.from_pretrained(spec.model.path)
    model = PeftModel.from_pretrained(model, spec.output_dir).eval()
    examples = prepare(spec.data, "llama3", 42, tokenizer).eval
    losses, shares = [], []
    for start in range(0, len(examples), 4):
        batch = examples[start : start + 4]
        total, count = 0.0, 0
        for example in batch:
            with torch.no_grad():
                logits = model(torch.tensor([example.input_ids])).logits[0, :-1]
            targets = torch.tensor(example.labels[1:])
            kept = targets != -100
            total += F.cross_entropy(logits[kept], targets[kept], reduction="sum").item()
            count += int(kept.sum())
            shares.append((logits.argmax(-1) == targets)[kept].double().mean().item())
        losses += [total / count] * len(batch)
    assert last.eval_loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert last.metrics["eval_accuracy"] == pytest.approx(sum(shares) / len(shares), abs=1e-4)


def test_the_seconds_left_hold_the_evaluations_to_come_and_the_rate_does_not(
    quick: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Evaluation.batches

    def slowly(evaluation: Evaluation) -> Iterator[None]:
        time.sleep(1.0)
        yield from batches(evaluation)

    monkeypatch.setattr(Evaluation, "batches", slowly)
    progress = {event.step: event for event in of_type(run(evaluated(quick)), "progress")}
    assert 2.0 < progress[7].seconds_left < 4.0  # after 12 and after 18
    assert 1.0 < progress[13].seconds_left < 2.5
    assert progress[18].tokens_per_second > 2 * progress[18].tokens / progress[18].seconds


def test_the_best_adapter_is_the_one_left_behind(quick: TrainSpec) -> None:
    spec = evaluated(quick, steps=3, load_best_model_at_end=True)
    spec = replace(
        spec,
        saving=SavingSpec("steps", 3, 1, False),
        length=LengthSpec(3.0, -1, 2, 2, 4, True),
        optimizer=replace(spec.optimizer, learning_rate=0.3),  # far too high: it gets worse
        schedule=replace(spec.schedule, type="constant", warmup_ratio=0.0),
    )
    events = run(spec)
    losses = {e.step: e.eval_loss for e in of_type(events, "evaluated")}
    best = min(losses, key=lambda step: losses[step])
    assert best != 18, "the job must get worse for this test to mean anything"
    kept = load_file(Path(spec.output_dir) / f"checkpoint-{best}/adapter_model.safetensors")
    left = load_file(Path(spec.output_dir) / "adapter_model.safetensors")
    assert all(torch.equal(kept[name], left[name]) for name in left)
    assert best not in [e.step for e in of_type(events, "checkpoint_removed")]


def test_early_stopping_ends_after_that_many_evaluations_without_gain(quick: TrainSpec) -> None:
    spec = evaluated(quick, steps=1, early_stopping_steps=2)
    spec = replace(
        spec,
        optimizer=replace(spec.optimizer, learning_rate=0.5),
        schedule=replace(spec.schedule, type="constant", warmup_ratio=0.0),
    )
    events = run(spec)
    losses = [e.eval_loss for e in of_type(events, "evaluated")]
    assert len(losses) < 18
    assert min(losses) == losses[-3] and events[-1].type == "finished"
    (said,) = [e for e in events if getattr(e, "code", "") == "early_stop"]
    assert said.data["best_step"] == len(losses) - 2


def test_val_size_holds_records_out_and_evaluates_them_once_at_the_end(quick: TrainSpec) -> None:
    spec = replace(quick, data=replace(quick.data, val_size=0.2))
    events = run(spec)
    (said,) = [e for e in events if getattr(e, "code", "") == "data"]
    assert (said.data["records"], said.data["eval_records"]) == (17, 5)
    (only,) = of_type(events, "evaluated")
    assert only.step == said.data["steps"]
    assert events[-1].result["eval_loss"] == only.eval_loss
