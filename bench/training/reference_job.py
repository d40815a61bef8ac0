"""The reference project's job as a trainer is told it, cut to the steps that a check needs.

Recipe and records are the reference's own: `spec` says what its YAML says, and the data files hold
its records in canonical form. Nothing runs here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bullion.contract import recipe as r
from bullion.data.examples import prepare
from bullion.models.load import load_tokenizer
from bullion.train.schedule import Course

from training.job import spec as step_spec

EPOCHS = 10.0
SEED = 42
LENGTH = r.LengthSpec(EPOCHS, -1, 1, 8, 8, True)


@dataclass(frozen=True)
class Job:
    """Base, records, cut-off. `records` are the reference's conversations, in canonical form."""

    weights: Path
    records: Sequence[dict[str, Any]]
    cutoff: int
    dtype: str = "bf16"

    def spec(self, output: Path, data: Path, **changes: Any) -> r.TrainSpec:
        """The reference's recipe over `data`; `changes` are fields of the spec."""
        base = replace(
            step_spec(self.dtype),
            output_dir=str(output),
            model=r.BaseModel(self.weights.name, str(self.weights), None, False),
            data=r.DataSpec(
                [str(data)], [], 0.0, self.cutoff, None, False, False, None, False, False, False
            ),
            length=LENGTH,
            logging=r.LoggingSpec(1, False, []),
            memory=r.MemorySpec(None, False),
            seed=SEED,
        )
        return replace(base, **changes)

    def write(self, path: Path, chosen: Sequence[int]) -> Path:
        """A data file of the chosen records, in that order."""
        lines = [
            json.dumps({**self.records[record], "index": place}, ensure_ascii=False)
            for place, record in enumerate(chosen)
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def lengths(self, work: Path) -> list[int]:
        """Tokens of every record, by the base's own tokenizer and template."""
        data = self.write(work / "all.jsonl", range(len(self.records)))
        spec = self.spec(work, data)
        tokenizer = load_tokenizer(self.weights)
        return [len(e) for e in prepare(spec.data, spec.template, SEED, tokenizer).train]

    def first_steps_and_the_largest(self, work: Path, steps: int) -> tuple[list[int], int]:
        """Records of the reference's first steps, for a job that does not shuffle, and the tokens of
        the largest step: of all 1,230 steps the largest comes third, one with the longest record second.
        """
        lengths = self.lengths(work)
        course = Course(len(lengths), LENGTH, SEED)
        sums = course.sums(lengths)
        largest = 1 + sums.index(max(sums))
        longest = lengths.index(max(lengths))
        with_longest = next(s for s in range(1, len(sums)) if longest in course.records_of(s))
        order = [1, with_longest, largest, *range(2, steps - 1)]
        return [record for step in order for record in course.records_of(step)], max(sums)


def read_records(folder: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The reference's alpaca records in canonical form, the first `most` of them."""
    rows = json.loads((folder / "datasets_finance.json").read_text(encoding="utf-8"))
    made = []
    for index, row in enumerate(rows[:most]):
        asked = "\n".join(part for part in (row["instruction"], row["input"]) if part)
        turns = [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": row["output"]},
        ]
        made.append({"index": index, "system": None, "tools": None, "turns": turns})
    return made
