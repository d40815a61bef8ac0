"""Log probabilities of tokens and of their best rivals, in fp32, from the model's own logits.

Taken before temperature, penalties and bias, so that they say what the model thinks. It copies
nothing to the host: the reader does, once for a whole step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bullion.contract.worker import TokenLogprob, TopLogprob
from bullion.engine.detokenize import TokenBytes


@dataclass(frozen=True)
class Scores:
    """For n tokens: their own log probabilities (n,), and the k best (n, k) with their ids."""

    chosen: Tensor
    top: Tensor
    top_ids: Tensor

    def cpu(self) -> Scores:
        return Scores(self.chosen.cpu(), self.top.cpu(), self.top_ids.cpu())


def score(logits: Tensor, tokens: Tensor, alternatives: int) -> Scores:
    """(n, V) logits and (n,) tokens. The chosen value is the very float that stands in `top`."""
    values = torch.log_softmax(logits.float(), dim=-1)
    chosen = values.gather(1, tokens.unsqueeze(1)).squeeze(1)
    top, ids = values.topk(min(alternatives, values.shape[1]), dim=-1)
    return Scores(chosen, top, ids)


def entry(
    bytes_of: TokenBytes, token: int, scores: Scores | None, row: int, count: int
) -> TokenLogprob:
    """Row `row` of host-side `scores`; None: the first of a prompt. Its place in a text is still to come."""
    text, raw = bytes_of.text(token), list(bytes_of.raw(token))
    if scores is None:
        return TokenLogprob(token, text, raw, None, [], 0)
    top = [
        TopLogprob(i, bytes_of.text(i), list(bytes_of.raw(i)), value)
        for i, value in zip(
            scores.top_ids[row, :count].tolist(), scores.top[row, :count].tolist(), strict=True
        )
    ]
    return TokenLogprob(token, text, raw, scores.chosen[row].item(), top, 0)
