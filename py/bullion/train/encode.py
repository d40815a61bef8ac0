"""What records become: ids and labels in batches of events, without a model. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from bullion.contract.errors import Refusal
from bullion.contract.recipe import EncodeSpec
from bullion.contract.worker import EncodedEvent, Event, FinishedEvent, Interruption, StoppedEvent
from bullion.data import records as canonical
from bullion.data.examples import encode as encode_records
from bullion.data.supervise import IGNORED
from bullion.models.fetch import local_folder
from bullion.models.load import load_tokenizer

BATCH = 64


def encode(spec: EncodeSpec, job_id: str, interruption: Interruption) -> Iterator[Event]:
    """Yields `{"index", "input_ids", "labels", "spans"}` a training record; `record` asks for one alone.

    `spans` are the texts of runs of ids that are all trained or all not, for showing them: a single
    id may be part of a character. Raises Refusal as training does.
    """
    tokenizer = load_tokenizer(local_folder(spec.model))
    records = canonical.read(spec.data.train, spec.data.max_samples)
    if spec.data.val_size > 0:
        records, _ = canonical.split(records, spec.data.val_size, spec.seed)
    if spec.record is not None:
        records = [record for record in records if record.index == spec.record]
        if not records:
            raise Refusal("no_such_record", f"The data set has no record {spec.record}", "record")
    batch = []
    for example in encode_records(
        records, spec.data, spec.template, tokenizer, spec.data.cutoff_len
    ):
        if how := interruption():
            yield StoppedEvent(job_id, how)
            return
        batch.append(
            {
                "index": example.index,
                "input_ids": list(example.input_ids),
                "labels": list(example.labels),
                "spans": spans(example.input_ids, example.labels, tokenizer),
            }
        )
        if len(batch) == BATCH:
            yield EncodedEvent(job_id, batch)
            batch = []
    if batch:
        yield EncodedEvent(job_id, batch)
    yield FinishedEvent(job_id, {"records": len(records)})


def spans(input_ids: Sequence[int], labels: Sequence[int], tokenizer: Any) -> list[dict[str, Any]]:
    pairs = zip(input_ids, labels, strict=True)
    runs = groupby(pairs, key=lambda pair: pair[1] != IGNORED)
    return [
        {"trained": trained, "text": tokenizer.decode([id for id, _ in run])}
        for trained, run in runs
    ]
