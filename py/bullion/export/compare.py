"""The proof by answers: logits of the merged model beside those of base and unmerged adapter.

Measures and judges; one layer of each is in memory at a time. It does not look at weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bullion.contract.errors import Refusal
from bullion.export.streamed import CHUNK, StreamedModels

PROBE_TOKENS = 256  # of each prompt, the first
# Merged may be off by this share of what the adapter does, or by what rounding does: ROUNDING of
# the logits' spread for each half layer, growing as a random walk (measured: a third of it).
SHARE_OF_EFFECT = 0.5
ROUNDING = {torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 1.5e-3}


@dataclass
class LogitComparison:
    """Over all positions of all probes. Differences are of logits, rms over the vocabulary too."""

    positions: int = 0
    max_difference: float = 0.0  # merged against base plus adapter
    rms_difference: float = 0.0  # the same
    rms_effect: float = 0.0  # base alone against base plus adapter
    spread: float = 0.0  # standard deviation of the logits
    top1_agreement: float = 0.0  # share of positions with the same best token

    def judge(self, dtype: torch.dtype, layers: int) -> None:
        """Raises Refusal merge_logits_differ. `dtype` is that of the merged weights."""
        rounding = ROUNDING.get(dtype, 1e-2) * math.sqrt(2 * layers) * self.spread
        allowed = max(SHARE_OF_EFFECT * self.rms_effect, rounding)
        if self.rms_difference <= allowed:  # false for NaN too
            return
        raise Refusal(
            "merge_logits_differ",
            "The merged model does not answer as base and adapter do: logits differ by "
            f"{self.rms_difference:.4g} (rms; {allowed:.4g} is allowed, the adapter itself does "
            f"{self.rms_effect:.4g}), {self.top1_agreement:.1%} of the best tokens are the same",
        )


def compare(
    models: StreamedModels, prompts: list[list[int]], found: LogitComparison
) -> Iterator[str]:
    """Fill `found` from the views "base", "tuned" (base with adapters unmerged) and "merged".

    Yields between layers and between pieces of the vocabulary.
    """
    prompts = [ids[:PROBE_TOKENS] for ids in prompts if ids]
    last: dict[str, torch.Tensor] = {}
    for states in models.states(prompts):
        last = states
        yield "layer"
    n, device = last["tuned"].shape[0], last["tuned"].device
    seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {"tuned": [], "merged": []}
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    largest = torch.zeros((), device=device)
    start = 0
    for logits in models.logits(last):
        tuned = logits["tuned"]
        off = logits["merged"] - tuned
        largest = torch.maximum(largest, off.abs().max())  # NaN stays NaN
        squares = (off.square(), (logits["base"] - tuned).square(), tuned, tuned.square())
        sums += torch.stack([one.sum(dtype=torch.float64) for one in squares])
        for name, best in seen.items():
            value, index = logits[name].max(dim=1)
            best.append((value, index + start))
        start += tuned.shape[1]
        yield "head"
    count = n * models.vocabulary
    off_sum, effect, total, square = sums.tolist()
    found.positions = n
    found.max_difference = float(largest)
    found.rms_difference = math.sqrt(off_sum / count)
    found.rms_effect = math.sqrt(effect / count)
    found.spread = math.sqrt(max(square / count - (total / count) ** 2, 0.0))
    same = _best(seen["tuned"]) == _best(seen["merged"])
    found.top1_agreement = float(same.float().mean())


def _best(seen: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The best token of every position, of the pieces' best: (N,)"""
    values, tokens = (torch.stack(side) for side in zip(*seen, strict=True))  # (pieces, N)
    return tokens.gather(0, values.argmax(dim=0, keepdim=True))[0]


def steps_of(models: StreamedModels) -> int:
    """How often `compare` yields."""
    return models.layers + 1 + math.ceil(models.vocabulary / CHUNK)
