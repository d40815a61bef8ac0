"""The memory plan: the fastest that fits, or a refusal with its figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.contract.recipe import (
    LengthSpec,
    MemorySpec,
    PrecisionSpec,
    QuantizationSpec,
    TrainSpec,
)
from bullion.data.examples import Examples
from bullion.data.supervise import Example
from bullion.train import plan as planning
from bullion.train.plan import Plan, plan
from bullion.train.schedule import Course
from small_jobs import of_type, plain_spec, run

CUDA = torch.device("cuda")
LLAMA_3_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-5,
}


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_8B))
    return tmp_path


def planned(folder: Path, monkeypatch: pytest.MonkeyPatch, free_gb: float, **changes: Any) -> Plan:
    """The plan of the reference job's shape: 977 records of 378 tokens, the longest 943."""
    monkeypatch.setattr(planning, "free_memory", lambda _: int(free_gb * 1e9))
    spec = replace(
        plain_spec(folder, folder, []), precision=PrecisionSpec("bf16", False, "auto"), **changes
    )
    lengths = [378] * 976 + [943]
    records = [Example(i, [0] * n, [0] * n) for i, n in enumerate(lengths)]
    course = Course(977, LengthSpec(10.0, -1, 1, 8, 8, True), 42)
    return plan(spec, folder, Examples(records, [], None, []), course, CUDA)


def test_with_room_enough_nothing_is_computed_twice(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(llama, monkeypatch, 140)
    assert (made.recompute, made.pack_tokens) == ("none", None)
    assert 17e9 < made.needed < 40e9
    assert "of 140.0 GB" in made.text


@pytest.mark.parametrize("gigabytes", [48, 24])
def test_smaller_cards_get_a_plan_that_fits_them(
    llama: Path, monkeypatch: pytest.MonkeyPatch, gigabytes: int
) -> None:
    made = planned(llama, monkeypatch, gigabytes)
    assert made.needed <= gigabytes * 1e9
    by_hand = planned(llama, monkeypatch, 140, memory=MemorySpec(float(gigabytes), False))
    assert (by_hand.recompute, by_hand.pack_tokens) == (made.recompute, made.pack_tokens)


def test_less_memory_never_means_a_larger_plan(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = [planned(llama, monkeypatch, free).needed for free in (140, 60, 40, 30, 24, 22)]
    assert needs == sorted(needs, reverse=True)


def test_what_cannot_fit_is_refused_with_figures_and_advice(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refusal, match=r"needs at least 1\d\.\d GB and 12\.0 GB") as refused:
        planned(llama, monkeypatch, 12)
    assert refused.value.code == "does_not_fit"
    assert "quantization_bit: 4" in refused.value.message


def test_a_quantised_base_needs_less(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = planned(llama, monkeypatch, 12, quantization=QuantizationSpec(4, "nf4", True))
    assert small.needed < 12e9


def test_without_leave_to_recompute_smaller_packs_are_all_there_is(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(llama, monkeypatch, 26, memory=MemorySpec(None, True))
    assert made.recompute == "none" and made.pack_tokens is not None


def test_the_plan_is_said_before_the_first_step_and_kept_to(quick: TrainSpec) -> None:
    events = run(replace(quick, length=replace(quick.length, max_steps=2)))
    (said,) = [e for e in events if getattr(e, "code", "") == "plan"]
    assert said.data["recompute"] == "none" and said.data["needed_gb"] >= 0
    assert events.index(said) < events.index(of_type(events, "progress")[0])
    with pytest.raises(Refusal, match="needs at least"):
        run(replace(quick, memory=MemorySpec(0.0001, False)))
