"""Tokens and labels of every golden record, against LLaMA-Factory's own output."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from bullion.data.records import Record, Turn
from bullion.data.supervise import IGNORED, Example, supervise
from bullion.data.template import choose
from bullion.data.tokens import Encoder

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "observation": "observation",
    "function_call": "function_call",
}
SPECIAL_TEXT = (
    4  # the alpaca record whose text spells special tokens: text here, control tokens there
)


def sha(ids: list[int]) -> str:
    return hashlib.sha256(numpy.array(ids, dtype="<i4").tobytes()).hexdigest()


def alpaca(index: int, row: dict[str, Any], columns: bool = False) -> Record:
    turns: list[Turn] = []
    for asked, answered in (row.get("history") or []) if columns else []:
        turns += [Turn("user", asked), Turn("assistant", answered)]
    asked = "\n".join(part for part in (row["instruction"], row["input"]) if part)
    turns += [Turn("user", asked), Turn("assistant", row["output"])]
    return Record(index, (row.get("system") or None) if columns else None, None, tuple(turns))


def sharegpt(index: int, row: dict[str, Any]) -> Record:
    said = row["conversations"]
    system = row.get("system") or None
    if said[0]["from"] == "system":
        system, said = said[0]["value"], said[1:]
    return Record(
        index,
        system,
        None,
        tuple(Turn(ROLES[t["from"]], t["value"]) for t in said),  # type: ignore[arg-type]
    )


def examples(
    tokenizer: Any, records: list[Record], cutoff: int = 2048, **how: Any
) -> list[Example]:
    template = choose("llama3", tokenizer)
    encoder = Encoder(tokenizer)
    default_system = how.pop("default_system", None)
    made = []
    for record in records:
        pairs = template.pairs(record, default_system)
        ids = encoder.encode_all([row for pair in pairs for row in pair])
        made.append(
            supervise(record.index, list(zip(ids[::2], ids[1::2], strict=True)), cutoff, **how)
        )
    return made


@pytest.fixture(scope="module")
def records(reference: list[dict[str, Any]]) -> list[Record]:
    return [alpaca(i, row) for i, row in enumerate(reference) if i % 2 == 0]


@pytest.mark.parametrize(
    ("variant", "cutoff", "on_prompt"),
    [
        ("base_cutoff2048", 2048, False),
        ("cutoff256", 256, False),
        ("cutoff128", 128, False),
        ("cutoff32", 32, False),
        ("train_on_prompt", 2048, True),
    ],
)
def test_every_reference_record_has_the_golden_tokens_and_labels(
    golden: Path,
    llama3_tokenizer: Any,
    records: list[Record],
    variant: str,
    cutoff: int,
    on_prompt: bool,
) -> None:
    tokens = json.loads((golden / "tokens.json").read_text())
    rows = tokens["variants"].get(variant) or tokens[variant]
    made = examples(llama3_tokenizer, records, cutoff, train_on_prompt=on_prompt)
    assert len(made) == len(rows)
    for example, (index, length, trained, ids, labels) in zip(made, rows, strict=True):
        assert example.index == index
        assert (len(example), example.trained_tokens) == (length, trained)
        assert sha(example.input_ids).startswith(ids)
        assert sha(example.labels).startswith(labels)


SETTINGS: dict[str, dict[str, Any]] = {
    "alpaca": {},
    "alpaca_mask_history": {"mask_history": True},
    "alpaca_train_on_prompt": {"train_on_prompt": True},
    "alpaca_cutoff64": {"cutoff": 64},
    "sharegpt": {},
    "sharegpt_mask_history": {"mask_history": True},
}


def test_the_golden_settings_are_all_known(golden: Path) -> None:
    cases = json.loads((golden / "multiturn.json").read_text())["cases"]
    assert set(cases) == set(SETTINGS)


@pytest.mark.parametrize("case", SETTINGS)
def test_every_conversation_has_the_golden_tokens_and_labels(
    golden: Path, llama3_tokenizer: Any, case: str
) -> None:
    data = json.loads((golden / "multiturn.json").read_text())
    if case.startswith("alpaca"):
        records = [alpaca(i, row, columns=True) for i, row in enumerate(data["inputs"]["alpaca"])]
    else:
        rows = data["inputs"]["sharegpt"][: len(data["cases"][case])]
        records = [sharegpt(i, row) for i, row in enumerate(rows)]
    made = examples(llama3_tokenizer, records, **SETTINGS[case])
    for example, wanted in zip(made, data["cases"][case], strict=True):
        if case.startswith("alpaca") and example.index == SPECIAL_TEXT:
            continue
        assert len(example) == wanted["n"]
        assert sha(example.input_ids) == wanted["sha_ids"], (case, example.index)
        assert sha(example.labels) == wanted["sha_labels"], (case, example.index)


def test_special_token_strings_in_a_text_stay_text(golden: Path, llama3_tokenizer: Any) -> None:
    rows = json.loads((golden / "multiturn.json").read_text())["inputs"]["alpaca"]
    (example,) = examples(
        llama3_tokenizer, [alpaca(SPECIAL_TEXT, rows[SPECIAL_TEXT], columns=True)]
    )
    names = llama3_tokenizer.convert_ids_to_tokens(example.input_ids)
    assert names.count("<|eot_id|>") == 3  # system, user, answer: none from the texts
    assert names.count("<|begin_of_text|>") == 1
    assert "<|eot_id|> special in text" in llama3_tokenizer.decode(example.input_ids)


def test_a_record_that_is_cut_says_so_and_whether_its_answer_lost_its_end(
    llama3_tokenizer: Any,
) -> None:
    short = Record(0, None, None, (Turn("user", "Hi"), Turn("assistant", "Hello")))
    long_answer = Record(1, None, None, (Turn("user", "Hi"), Turn("assistant", "word " * 99)))
    long_prompt = Record(2, None, None, (Turn("user", "word " * 99), Turn("assistant", "Hello")))
    made = examples(llama3_tokenizer, [short, long_answer, long_prompt], 64)
    assert [(e.cut, e.lost_end) for e in made] == [
        (False, False),
        (True, True),
        (True, False),
    ]
    assert made[0].labels.count(IGNORED) == len(made[0]) - made[0].trained_tokens
