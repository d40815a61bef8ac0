"""lm-evaluation-harness, unmodified: scores over HTTP equal those of its own `hf` model.

Both read the embedded base, ours through the service, theirs through transformers in fp32. Tasks come
from files of this machine; nothing is asked of a hub. The harness' API models leave the begin-of-text
token out unless told, its `hf` model puts it where the tokenizer does: each test says which it wants.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM

BASE = Path(__file__).parents[2] / "models" / "bullion-tiny"
EXACT = 1e-4

QUESTIONS = [
    (
        "什么是净利润？",
        ["利润总额减去所得税费用后的余额", "公司的员工人数", "董事会成员", "股票代码"],
        0,
    ),
    ("研发投入占营业收入的比例为百分之", ["五", "股东", "报告", "北京"], 0),
    ("The company reports revenue of 1,234.5 million", [" yuan", " people", " 年度", "!"], 0),
    ("归属于上市公司股东的净利润同比", ["增长", "下降", "持平", "会计师"], 1),
    (
        "",
        ["公司简介", "营业收入"],
        1,
    ),  # without a context it is scored after the begin-of-text token
]
TEXTS = [
    "报告期内，公司实现营业收入十二亿元，同比增长百分之八。",
    "Net profit attributable to shareholders was 300 million yuan in 2023.",
]


def jsonl(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def task(name: str, data: str, output_type: str, **more: Any) -> dict[str, Any]:
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": data}},
        "test_split": "test",
        "output_type": output_type,
        **more,
    }


@pytest.fixture(scope="module")
def choice(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    rows = [{"question": q, "choices": c, "answer": a} for q, c, a in QUESTIONS]
    data = jsonl(tmp_path_factory.mktemp("choice"), "choice", rows)
    return task(
        "finance_choice",
        data,
        "multiple_choice",
        doc_to_text="{{question}}",
        doc_to_choice="choices",
        doc_to_target="answer",
        target_delimiter="",
        metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}],
    )


@pytest.fixture(scope="module")
def perplexity(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = jsonl(tmp_path_factory.mktemp("text"), "text", [{"text": text} for text in TEXTS])
    return task(
        "finance_text",
        data,
        "loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{text}}",
        metric_list=[{"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
    )


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    rows = [{"question": q, "answer": c[a]} for q, c, a in QUESTIONS if q]
    data = jsonl(tmp_path_factory.mktemp("writing"), "writing", rows)
    return task(
        "finance_writing",
        data,
        "generate_until",
        doc_to_text="{{question}}",
        doc_to_target="{{answer}}",
        generation_kwargs={"until": ["\n\n", "。"], "max_gen_toks": 24, "do_sample": False},
        metric_list=[{"metric": "exact_match"}, {"metric": "chrf"}],
    )


@cache
def hf_model(begins: bool) -> HFLM:
    """The peer; `begins`: with the begin-of-text token before every text."""
    return HFLM(pretrained=str(BASE), dtype="float32", device="cpu", add_bos_token=begins)


def by_hf(task: dict[str, Any], begins: bool, **more: Any) -> dict[str, Any]:
    return evaluated(hf_model(begins), None, task, **more)


def over_http(kind: str, task: dict[str, Any], path: str, more_args: Any = None, **more: Any):
    args = {
        "model": "bullion-tiny",
        "base_url": os.environ["BULLION_URL"] + path,
        "num_concurrent": 4,
        "max_retries": 1,
        **(more_args or {}),
    }
    return evaluated(kind, args, task, **more)


def evaluated(kind: Any, args: Any, task: dict[str, Any], **more: Any) -> dict[str, Any]:
    results = lm_eval.simple_evaluate(
        model=kind,
        model_args=args,
        tasks=[dict(task)],
        num_fewshot=0,
        bootstrap_iters=0,
        log_samples=True,
        cache_requests=False,
        **more,
    )
    assert results is not None
    return results


def assert_same(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> None:
    scores = {k: v for k, v in theirs["results"][name].items() if isinstance(v, float)}
    assert scores
    for metric, value in scores.items():
        assert ours["results"][name][metric] == pytest.approx(value, abs=EXACT), metric
    for mine, other in zip(by_document(ours, name), by_document(theirs, name), strict=True):
        assert_same_answers(mine["filtered_resps"], other["filtered_resps"])


def by_document(results: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return sorted(results["samples"][name], key=lambda sample: sample["doc_id"])


def assert_same_answers(ours: Any, theirs: Any) -> None:
    """Texts and greedy marks to the letter, log probabilities to EXACT."""
    if isinstance(theirs, (list, tuple)):
        for mine, other in zip(ours, theirs, strict=True):
            assert_same_answers(mine, other)
    elif isinstance(theirs, float):
        assert float(ours) == pytest.approx(theirs, abs=EXACT)
    else:
        assert ours == theirs


def test_multiple_choice_scores_are_those_of_the_hf_model(choice: dict[str, Any]) -> None:
    args = {"tokenizer_backend": "remote"}
    ours = over_http("local-completions", choice, "/v1/completions", args)
    assert_same(ours, by_hf(choice, begins=False), "finance_choice")


def test_the_same_in_batches_with_a_tokenizer_of_the_clients_own(choice: dict[str, Any]) -> None:
    args = {"tokenizer_backend": "huggingface", "tokenizer": str(BASE), "add_bos_token": True}
    ours = over_http("local-completions", choice, "/v1/completions", args, batch_size=3)
    assert_same(ours, by_hf(choice, begins=True), "finance_choice")


def test_perplexity_is_that_of_the_hf_model(perplexity: dict[str, Any]) -> None:
    args = {"tokenizer_backend": "remote"}
    ours = over_http("local-completions", perplexity, "/v1/completions", args)
    assert_same(ours, by_hf(perplexity, begins=False), "finance_text")


def test_what_is_written_after_ids_is_what_the_hf_model_writes(writing: dict[str, Any]) -> None:
    args = {"tokenizer_backend": "remote"}
    ours = over_http("local-completions", writing, "/v1/completions", args)
    assert_same(ours, by_hf(writing, begins=False), "finance_writing")


def test_a_text_prompt_gets_the_begin_of_text_token_once(writing: dict[str, Any]) -> None:
    args = {"tokenizer_backend": "remote", "tokenized_requests": False}
    ours = over_http("local-completions", writing, "/v1/completions", args)
    assert_same(ours, by_hf(writing, begins=True), "finance_writing")


def test_what_is_said_in_a_chat_is_what_the_hf_model_says(writing: dict[str, Any]) -> None:
    path = "/v1/chat/completions"
    ours = over_http("local-chat-completions", writing, path, apply_chat_template=True)
    theirs = by_hf(writing, begins=True, apply_chat_template=True)
    assert_same(ours, theirs, "finance_writing")
