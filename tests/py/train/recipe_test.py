"""The recipe as a user sees it: what it says, refuses and leaves behind."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.contract.recipe import (
    EncodeSpec,
    LengthSpec,
    LoggingSpec,
    QuantizationSpec,
    SavingSpec,
    ScheduleSpec,
    StartingAdapter,
    TrainSpec,
)
from bullion.train.encode import encode
from bullion.train.evaluate import Evaluation
from bullion.train.plan import Plan
from peft import PeftModel
from safetensors.torch import load_file
from small_jobs import of_type, plain_spec, run, write_records
from transformers import AutoModelForCausalLM


def said(events: list, code: str) -> list:
    return [event for event in events if getattr(event, "code", "") == code]


def test_the_resolved_job_is_said_first_and_every_phase_with_its_seconds(quick: TrainSpec) -> None:
    events = run(quick)
    assert events[0].code == "resolved"
    assert events[0].data["optimizer"]["learning_rate"] == 1e-2
    assert [e.data["phase"] for e in said(events, "phase")] == ["encode", "load", "steps", "save"]
    assert all(e.data["seconds"] >= 0 and e.id == "job" for e in said(events, "phase"))


def test_the_loss_falls_and_the_files_have_their_names(quick: TrainSpec) -> None:
    spec = replace(
        quick,
        length=LengthSpec(8.0, -1, 2, 2, 4, True),
        logging=LoggingSpec(4, True, []),
        saving=SavingSpec("epoch", 500, None, False),
    )
    events = run(spec)
    steps = of_type(events, "progress")
    assert steps[-1].loss < steps[0].loss - 0.25
    assert steps[0].step == 1 and steps[-1].step == steps[-1].total_steps == 48
    assert {e.step for e in steps} >= {4, 8, 44, 48}
    output = Path(spec.output_dir)
    for name in (
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "trainer_log.jsonl",
        "trainer_state.json",
        "train_results.json",
        "all_results.json",
        "checkpoint-48/adapter_model.safetensors",
    ):
        assert (output / name).is_file(), name
    assert (output / "training_loss.png").read_bytes().startswith(b"\x89PNG")
    log = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
    assert [line["current_steps"] for line in log] == list(range(4, 49, 4))
    assert set(log[0]) == {
        "current_steps",
        "total_steps",
        "loss",
        "lr",
        "epoch",
        "percentage",
        "elapsed_time",
        "remaining_time",
        "throughput",
        "total_tokens",
    }
    results = json.loads((output / "train_results.json").read_text())
    assert results["epoch"] == 8.0 and results["train_loss"] > 0
    state = json.loads((output / "trainer_state.json").read_text())
    assert state["global_step"] == 48 and len(state["log_history"]) == 13
    result = events[-1].result
    assert result["steps"] == 48 and result["adapter"] == spec.output_dir
    assert result["trained_tokens"] < result["tokens"]


def test_a_logged_loss_is_the_mean_of_the_steps_since_the_last_line(
    quick: TrainSpec, tmp_path: Path
) -> None:
    every = of_type(run(quick), "progress")
    spec = replace(
        quick, output_dir=str(tmp_path / "five"), logging=replace(quick.logging, steps=5)
    )
    run(spec)
    log = (Path(spec.output_dir) / "trainer_log.jsonl").read_text().splitlines()
    means = [sum(e.loss for e in every[i : i + 5]) / 5 for i in (0, 5, 10)]
    assert [json.loads(line)["loss"] for line in log] == [round(mean, 4) for mean in means]


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory plan that cuts every step of four records into packs of one or two."""
    monkeypatch.setattr("bullion.train.recipe.plan", lambda *_: Plan("none", 120, 0, 0))


def test_micro_packs_change_nothing_but_rounding(
    quick: TrainSpec, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = of_type(run(quick), "progress")
    request.getfixturevalue("small_packs")
    parts = of_type(run(replace(quick, output_dir=str(tmp_path / "parts"))), "progress")
    assert [e.loss for e in parts] == pytest.approx([e.loss for e in whole], rel=1e-4)
    assert [e.grad_norm for e in parts] == pytest.approx([e.grad_norm for e in whole], rel=1e-3)


def test_a_cancel_is_heard_between_two_micro_packs_and_a_pause_after_the_step(
    quick: TrainSpec, small_packs: None
) -> None:
    for how, steps in (("cancel", 0), ("pause", 1)):
        looks = iter(range(1000))
        events = run(quick, lambda how=how, looks=looks: how if next(looks) >= 1 else None)
        assert events[-1].type == "stopped" and events[-1].how == how
        assert len(of_type(events, "progress")) == steps
        assert [e.step for e in of_type(events, "checkpoint")] == [1] * steps


def test_records_that_spell_control_tokens_are_named(quick: TrainSpec, tmp_path: Path) -> None:
    texts = [["Hi", "Ho"], ["What is <|eot_id|>?", "The end."]]
    data = write_records(tmp_path / "spelled.jsonl", texts)
    events = run(replace(quick, data=replace(quick.data, train=[data])))
    (named,) = said(events, "spelled_tokens")
    assert named.data["records"] == [1]


def test_all_faults_of_a_job_are_named_at_once(quick: TrainSpec) -> None:
    broken = replace(
        quick,
        schedule=replace(quick.schedule, type="cosinus"),
        optimizer=replace(quick.optimizer, name="adamm"),
        evaluation=replace(quick.evaluation, strategy="steps"),
    )
    with pytest.raises(Refusal) as refused:
        run(broken)
    assert refused.value.code == "invalid_recipe"
    for word in ("3 reasons", "cosinus", "adamm", "eval_strategy"):
        assert word in refused.value.message
    one = replace(quick, optimizer=replace(quick.optimizer, name="adamm"))
    with pytest.raises(Refusal) as refused:
        run(one)
    assert (refused.value.code, refused.value.param) == ("unknown_optimizer", "optim")


def test_cut_records_are_named_before_training_or_refused(quick: TrainSpec) -> None:
    short = replace(quick, data=replace(quick.data, cutoff_len=40))
    events = run(replace(short, length=replace(short.length, max_steps=1)))
    (cut,) = said(events, "truncated")
    assert cut.level == "warn" and "lose the end" in cut.text
    assert 0 < len(cut.data["lost_end"]) <= len(cut.data["cut"]) <= 22
    assert events.index(cut) < events.index(of_type(events, "progress")[0])
    with pytest.raises(Refusal, match="records are cut") as refused:
        run(replace(short, data=replace(short.data, reject_truncated=True)))
    assert refused.value.code == "truncated_records"


def test_a_job_goes_on_from_an_adapter_or_merges_it_and_starts_a_new_one(
    quick: TrainSpec, tmp_path: Path
) -> None:
    first = of_type(run(quick), "progress")
    one = replace(quick, length=replace(quick.length, max_steps=1))
    for create_new in (False, True):
        spec = replace(
            one,
            output_dir=str(tmp_path / f"new-{create_new}"),
            adapter=StartingAdapter(quick.output_dir, create_new),
        )
        (step,) = of_type(run(spec), "progress")
        assert step.loss < first[0].loss - 0.1
        made = load_file(Path(spec.output_dir) / "adapter_model.safetensors")
        kept = load_file(Path(quick.output_dir) / "adapter_model.safetensors")
        same = all(torch.equal(made[name], kept[name]) for name in kept)
        assert same is not create_new  # the learning rate of the first step is 0


def test_the_adapter_opens_in_plain_peft_and_gives_the_trained_loss(quick: TrainSpec) -> None:
    spec = replace(quick, data=replace(quick.data, eval=quick.data.train))
    events = run(spec)
    model = AutoModelForCausalLM.from_pretrained(spec.model.path)
    model = PeftModel.from_pretrained(model, spec.output_dir).eval()
    batches = list(
        encode(EncodeSpec(spec.model, spec.template, spec.data, 42, 5), "job", lambda: None)
    )
    (record,) = batches[0].records
    labels = torch.tensor([record["labels"]])
    with torch.no_grad():
        loss = model(input_ids=torch.tensor([record["input_ids"]]), labels=labels).loss.item()
    assert loss < of_type(events, "progress")[0].loss
    assert batches[-1].result == {"records": 1}


def test_encoding_shows_ids_labels_and_texts_of_every_record(quick: TrainSpec) -> None:
    spec = EncodeSpec(quick.model, "llama3", quick.data, 42, None)
    events = list(encode(spec, "job", lambda: None))
    records = [record for event in of_type(events, "encoded") for record in event.records]
    assert [record["index"] for record in records] == list(range(22))
    text = "".join(span["text"] for span in records[3]["spans"])
    assert "<|eot_id|>" in text and "It is 111, and not 3." in text
    trained = [span["text"] for span in records[3]["spans"] if span["trained"]]
    assert trained[0].startswith("It is 111")
    with pytest.raises(Refusal, match="no record 99"):
        list(encode(replace(spec, record=99), "job", lambda: None))


def test_a_loss_that_is_no_number_ends_the_job_by_name(quick: TrainSpec) -> None:
    wild = replace(
        quick,
        optimizer=replace(quick.optimizer, name="sgd", learning_rate=1e30, max_grad_norm=0.0),
    )
    with pytest.raises(Refusal, match="learning_rate") as refused:
        run(wild)
    assert refused.value.code == "diverged"


def test_a_gradient_norm_that_is_no_number_ends_the_job_though_the_loss_is_one(
    quick: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.nn.utils, "get_total_norm", lambda gradients: torch.tensor(float("nan"))
    )
    with pytest.raises(
        Refusal, match=r"after step 1 as its gradient norm is nan.*lower"
    ) as refused:
        run(quick)
    assert (refused.value.code, refused.value.param) == ("diverged", "learning_rate")


def test_an_evaluation_loss_that_is_no_number_ends_the_job(
    quick: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluation, "result", lambda self: (float("inf"), {}))
    held_out = replace(quick, data=replace(quick.data, val_size=2.0))
    with pytest.raises(Refusal, match="its eval_loss is inf") as refused:
        run(held_out)
    assert refused.value.code == "diverged"


@pytest.mark.parametrize(
    "package, param, change",
    [
        ("tensorboard", "report_to", {"logging": LoggingSpec(1, False, ["tensorboard"])}),
        ("bitsandbytes", "quantization_bit", {"quantization": QuantizationSpec(4, "nf4", True)}),
        ("bitsandbytes", "optim", {}),
    ],
)
def test_a_missing_package_is_named_with_the_command_of_this_interpreter(
    package: str,
    param: str,
    change: dict[str, Any],
    quick: TrainSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    spec = replace(quick, **change)
    if param == "optim":
        spec = replace(spec, optimizer=replace(spec.optimizer, name="adamw_8bit"))
    command = re.escape(f"run `{sys.executable} -m pip install {package}`")
    with pytest.raises(Refusal, match=rf"^{param} .*{command}") as refused:
        run(spec)
    assert (refused.value.code, refused.value.param) == ("missing_package", param)


def test_a_warm_up_that_never_ends_is_warned_of(quick: TrainSpec) -> None:
    short = replace(quick, length=replace(quick.length, max_steps=2))
    assert not said(run(short), "endless_warmup")
    endless = replace(short, schedule=ScheduleSpec("cosine", 0.0, 1000, {}))
    events = run(endless)
    (warned,) = said(events, "endless_warmup")
    assert warned.level == "warn"
    assert "of 1000 steps never ends, as the job has 2" in warned.text
    reached = max(event.learning_rate for event in of_type(events, "progress"))
    assert f"reaches {reached:.3g} of 0.01; lower warmup_steps" in warned.text


@pytest.mark.parametrize(
    "size, words",
    [(1.0, "is a count, not a share: so many"), (0.1, "is a share: 10 % of the records")],
)
def test_how_val_size_was_understood_is_said(quick: TrainSpec, size: float, words: str) -> None:
    length = replace(quick.length, max_steps=1)
    events = run(replace(quick, length=length, data=replace(quick.data, val_size=size)))
    (split,) = said(events, "split")
    assert words in split.text


def test_a_data_set_without_a_record_is_refused(tiny: Path, tmp_path: Path) -> None:
    data = write_records(tmp_path / "empty.jsonl", [])
    with pytest.raises(Refusal, match="no record"):
        run(plain_spec(tiny, tmp_path / "out", [data]))
