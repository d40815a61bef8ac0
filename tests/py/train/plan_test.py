"""The memory plan: the fastest that fits, or a refusal with its figures."""

from __future__ import annotations

import json
import re
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
from small_jobs import of_type, plain_spec, run, write_records

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
    assert refused.value.param == "quantization_bit"


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


def test_a_ceiling_that_is_too_low_is_named_with_figures_of_its_size(quick: TrainSpec) -> None:
    with pytest.raises(Refusal) as refused:
        run(replace(quick, memory=MemorySpec(0.0001, False)))
    assert refused.value.param == "memory_limit_gb"
    wanted = (
        r"needs at least (\d+\.\d) MB and memory_limit_gb \(0\.0001\) allows 100\.0 kB; "
        r"\S+ .B are free: raise memory_limit_gb to (\S+)$"
    )
    found = re.search(wanted, refused.value.message)
    assert found is not None, refused.value.message
    assert float(found[2]) * 1000 >= float(found[1])


def test_a_rank_that_needs_most_of_the_memory_is_what_to_change(quick: TrainSpec) -> None:
    with pytest.raises(Refusal, match=r"lower lora_rank \(10000000\); with 8 .* MB$") as refused:
        run(replace(quick, lora=replace(quick.lora, rank=10_000_000)))
    assert refused.value.param == "lora_rank"


def test_records_that_are_too_long_and_a_base_that_is_too_large_are_told_apart(
    tiny: Path, quick: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(free: int) -> Refusal:
        monkeypatch.setattr(planning, "free_memory", lambda _: free)
        with pytest.raises(Refusal) as raised:
            run(spec)
        return raised.value

    data = write_records(Path(quick.output_dir).parent / "long.jsonl", [["x" * 3000, "y"]])
    spec = replace(quick, data=replace(quick.data, train=[data]))
    too_long = refused(planning.estimator(spec, tiny, torch.device("cpu"))(1, "full") + 1)
    assert too_long.param == "cutoff_len" and "(2048; the longest record has" in too_long.message
    assert refused(1000).param == "model_name_or_path"
