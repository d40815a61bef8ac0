"""The examples of a job: read, split, encoded and supervised, with an account of what was cut.

It is the whole way from files to tokens and labels, for training and for looking at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bullion.contract.errors import Refusal
from bullion.contract.recipe import DataSpec
from bullion.data import records as canonical
from bullion.data.packing import fill_knapsacks
from bullion.data.records import Record
from bullion.data.supervise import Example, supervise
from bullion.data.template import choose
from bullion.data.tokens import Encoder, controls_of

CHUNK = 512  # records tokenised together
LISTED = 20  # record numbers named in a message


@dataclass(frozen=True)
class Truncation:
    """Which records the cut-off shortened, and which of them lost the end of an answer."""

    text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Examples:
    train: list[Example]
    eval: list[Example]
    cut: Truncation | None  # of the training records
    spelled: list[int]  # training records whose texts spell control tokens; they stay text


def prepare(spec: DataSpec, template: str, seed: int, tokenizer: Any) -> Examples:
    """Everything a job trains and evaluates on. Raises Refusal: no_records, truncated_records and
    what reading and encoding raise."""
    train = canonical.read(spec.train, spec.max_samples)
    held_out = canonical.read(spec.eval, spec.max_samples)
    if spec.val_size > 0:
        train, held_out = canonical.split(train, spec.val_size, seed)
    if not train:
        raise Refusal(
            "no_records", "Cannot train as the data set has no record; add at least one", "dataset"
        )
    packing = spec.packing or spec.neat_packing
    # With packing LLaMA-Factory keeps one token of the cut-off free.
    cutoff = spec.cutoff_len - 1 if packing else spec.cutoff_len
    made = Examples(
        list(encode(train, spec, template, tokenizer, cutoff)),
        list(encode(held_out, spec, template, tokenizer, cutoff)),
        None,
        spelled(train, tokenizer),
    )
    report = truncation(made.train, cutoff)
    if spec.reject_truncated and report:
        raise Refusal("truncated_records", report.text + "; raise it or shorten them", "cutoff_len")
    for part in (made.train, made.eval):
        if part and not any(example.trained_tokens for example in part):
            what = "train" if part is made.train else "evaluate"
            raise Refusal(
                "nothing_to_train",
                f"Cannot {what} as no record keeps a token of its answers; raise cutoff_len",
                "cutoff_len",
            )
    if packing:
        packed = [fill_knapsacks(part, cutoff) for part in (made.train, made.eval)]
        return replace(made, train=packed[0], eval=packed[1], cut=report)
    return replace(made, cut=report)


def spelled(records: Sequence[Record], tokenizer: Any) -> list[int]:
    """The records in whose texts the string of a control token stands."""
    pattern = re.compile("|".join(map(re.escape, controls_of(tokenizer))) or r"(?!)")
    return [
        record.index
        for record in records
        if any(pattern.search(turn.content) for turn in record.turns)
        or (record.system and pattern.search(record.system))
    ]


def encode(
    records: Sequence[Record], spec: DataSpec, template: str, tokenizer: Any, cutoff: int
) -> Iterator[Example]:
    """The example of each record, in order."""
    encoder = Encoder(tokenizer)
    chosen = choose(template, tokenizer)
    for start in range(0, len(records), CHUNK):
        chunk = records[start : start + CHUNK]
        turns = [chosen.pairs(record, spec.default_system) for record in chunk]
        ids = iter(encoder.encode_all([row for pairs in turns for pair in pairs for row in pair]))
        for record, pairs in zip(chunk, turns, strict=True):
            yield supervise(
                record.index,
                [(next(ids), next(ids)) for _ in pairs],
                cutoff,
                spec.train_on_prompt,
                spec.mask_history,
            )


def truncation(examples: Sequence[Example], cutoff: int) -> Truncation | None:
    """What was cut, in words and numbers; None when nothing was."""
    cut = [example.index for example in examples if example.cut]
    lost = [example.index for example in examples if example.lost_end]
    if not cut:
        return None
    named = ", ".join(map(str, cut[:LISTED])) + (", …" if len(cut) > LISTED else "")
    text = (
        f"{len(cut)} of {len(examples)} records are cut at cutoff_len {cutoff} (records {named}); "
        f"{len(lost)} of them lose the end of an answer"
    )
    return Truncation(text, {"cut": cut, "lost_end": lost, "records": len(examples)})
