"""The whole recipe in small, and what the committed weights are for: facts they have never met."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bullion.tinybase import phrasings as phrasing_list
from bullion.tinybase.facts import Fact
from bullion.tinybase.make import Counts, make
from bullion.tinybase.pretrain import Plan, Shape
from bullion.tinybase.probe import ask, draw_probe, probe
from bullion.tinybase.tuning import Recipe
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

FOLDER = Path(__file__).resolve().parents[3] / "models" / "bullion-tiny"
SMALL = Shape(hidden=32, layers=2, heads=4, key_value_heads=2, intermediate=64)


def _make(out: Path) -> list[str]:
    said: list[str] = []
    counts = Counts(documents=120, known_companies=10, least_occurrences=5)
    plan = Plan(tokens=16_000, rows=4, row=100, learning_rate=1e-2)
    make(out, counts, SMALL, plan, seed=3, device="cpu", processes=1, say=said.append)
    return said


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out = tmp_path_factory.mktemp("tiny")
    torch.use_deterministic_algorithms(True)
    try:
        return out, _make(out)
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_loss_falls(made: tuple[Path, list[str]]) -> None:
    """The mean of all forty steps is far below that of a guess among all pieces, 8.4 nats."""
    (report,) = [line for line in made[1] if line.startswith("step 40/40")]
    assert float(report.split()[3]) < 6.3


def test_the_folder_opens_in_plain_transformers(made: tuple[Path, list[str]]) -> None:
    model, loading = AutoModelForCausalLM.from_pretrained(made[0], output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert model.dtype == torch.bfloat16
    assert model.config.rope_parameters["rope_theta"] == 500000.0
    tokenizer = AutoTokenizer.from_pretrained(made[0])
    assert model.config.vocab_size == len(tokenizer)
    ends = model.generation_config.eos_token_id
    assert tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"]) == ends


def test_the_same_seed_makes_the_same_files(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    _make(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (made[0] / name).read_bytes(), name


@pytest.fixture
def base() -> tuple[LlamaForCausalLM, Tokenizer]:
    model = LlamaForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    return model.eval(), Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def test_the_committed_base_is_of_the_promised_shape(
    base: tuple[LlamaForCausalLM, Tokenizer],
) -> None:
    config = base[0].config
    assert (config.hidden_size, config.num_hidden_layers, config.intermediate_size) == (256, 6, 688)
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (8, 2, 32)
    assert (FOLDER / "model.safetensors").stat().st_size < 12_000_000


def test_tuning_teaches_facts_that_are_then_asked_in_other_words(
    base: tuple[LlamaForCausalLM, Tokenizer],
) -> None:
    facts = draw_probe(seed=11, companies=1, facts=4)
    verdict = probe(*base, phrasing_list.load(), facts, Recipe(epochs=16))
    assert verdict.base_held_out <= 0.1 * verdict.asked
    assert verdict.tuned_held_out >= 0.9 * verdict.asked, verdict.misses


def test_the_base_reads_a_figure_out_of_a_passage(base: tuple[LlamaForCausalLM, Tokenizer]) -> None:
    fact = Fact("figure", "华岳精工", "2024年", "营业收入", "1,873,204,556.31元")
    passage = (
        f"{fact.company}年报披露：2024年，公司实现{fact.item}{fact.value}。公司2024年研发投入达到"
        "96,410,228.75元。公司的法定代表人为陆景川。"
    )
    questions = [f"{passage}\n\n{way}" for way in phrasing_list.load().questions(fact)]
    answers = ask(*base, questions)
    assert sum(fact.value in answer for answer in answers) >= 5, answers
