"""Evaluation on held-out records, in LLaMA-Factory's definition, and what follows from it.

It owns eval_loss, accuracy, the best checkpoint and early stopping. It saves and restores nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from bullion.data.packing import join, micro_packs
from bullion.data.supervise import IGNORED, Example
from bullion.train.step import Stepper


class Evaluation:
    """One pass over the validation records; iterate it to the end, then ask for `result`."""

    def __init__(
        self,
        stepper: Stepper,
        examples: Sequence[Example],
        batch_size: int,
        accuracy: bool,
        pack_tokens: int | None,
    ) -> None:
        self._pack_tokens = pack_tokens
        self._stepper = stepper
        self._examples = examples
        self._batch_size = batch_size
        self._accuracy = accuracy
        self._sums: list[tuple[int, Tensor]] = []
        self._shares: list[Tensor] = []

    def batches(self) -> Iterator[None]:
        """Evaluates a batch each time it is advanced, so that the caller can end in between."""
        for start in range(0, len(self._examples), self._batch_size):
            batch = self._examples[start : start + self._batch_size]
            counts = [predicted(example) for example in batch]
            trained = sum(counts)
            if trained:
                losses = []
                # Accuracy is a mean of records' shares: each record needs a pack of its own.
                parts = micro_packs(batch, 0 if self._accuracy else self._pack_tokens)
                for part in parts:
                    count = sum(predicted(example) for example in part)
                    if not count:
                        continue
                    share, right = self._stepper.evaluate(join(part))
                    losses.append(share)
                    if self._accuracy:
                        self._shares.append(right / count)
                self._sums.append((len(batch), torch.stack(losses).sum() / trained))
            yield

    def result(self) -> tuple[float, dict[str, float]]:
        """(eval_loss, metrics): the mean over records of their batch's mean loss a token."""
        records = sum(count for count, _ in self._sums)
        if not records:
            return float("nan"), {}
        loss = sum(count * float(mean) for count, mean in self._sums) / records
        metrics = {}
        if self._shares:
            metrics["eval_accuracy"] = round(float(torch.stack(self._shares).double().mean()), 4)
        return loss, metrics


def predicted(example: Example) -> int:
    """Trained tokens that have a token before them to be predicted from."""
    heads = itertools.accumulate(example.lengths[:-1], initial=0)
    return example.trained_tokens - sum(example.labels[head] != IGNORED for head in heads)


@dataclass
class Best:
    """The best evaluation so far and how long ago it was; part of a checkpoint's state."""

    loss: float | None = None
    step: int | None = None
    without_gain: int = 0

    def note(self, step: int, loss: float) -> None:
        if self.loss is None or loss < self.loss:
            self.loss, self.step, self.without_gain = loss, step, 0
        else:
            self.without_gain += 1

    def state(self) -> dict[str, Any]:
        return asdict(self)
