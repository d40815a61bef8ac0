"""The proof by answers: logits of the merged model beside those of base and unmerged adapter.

Measures and judges; one layer of one model is in memory at a time. It does not look at weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bullion.contract.errors import Refusal
from bullion.export.streamed import StreamedModel

CHUNK = 16384  # vocabulary entries at a time
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
    base: StreamedModel,
    tuned: StreamedModel,
    merged: StreamedModel,
    prompts: list[list[int]],
    found: LogitComparison,
) -> Iterator[str]:
    """Fill `found`; yields between layers. `tuned` is the base with its adapters unmerged."""
    prompts = [ids[:PROBE_TOKENS] for ids in prompts if ids]
    last: dict[str, torch.Tensor] = {}
    for name, model in (("base", base), ("tuned", tuned), ("merged", merged)):
        for states in model.states(prompts):
            last[name] = states
            yield name
    n = last["tuned"].shape[0]
    best = {name: (torch.full((n,), -math.inf), torch.zeros(n, dtype=torch.long)) for name in last}
    total = squares = off = effect = 0.0
    for start in range(0, tuned.vocabulary, CHUNK):
        stop = min(start + CHUNK, tuned.vocabulary)
        logits = _logits({"base": base, "tuned": tuned, "merged": merged}, last, start, stop)
        off_by = logits["merged"] - logits["tuned"]
        found.max_difference = _largest(found.max_difference, float(off_by.abs().max()))
        off += float(off_by.square().sum(dtype=torch.float64))
        effect += float((logits["base"] - logits["tuned"]).square().sum(dtype=torch.float64))
        total += float(logits["tuned"].sum(dtype=torch.float64))
        squares += float(logits["tuned"].square().sum(dtype=torch.float64))
        for name in ("tuned", "merged"):
            value, index = logits[name].cpu().max(dim=1)
            higher = value > best[name][0]
            best[name] = (
                torch.where(higher, value, best[name][0]),
                torch.where(higher, index + start, best[name][1]),
            )
        yield "head"
    count = n * tuned.vocabulary
    found.positions = n
    found.rms_difference = math.sqrt(off / count)
    found.rms_effect = math.sqrt(effect / count)
    found.spread = math.sqrt(max(squares / count - (total / count) ** 2, 0.0))
    same = best["tuned"][1] == best["merged"][1]
    found.top1_agreement = float(same.float().mean())


def _logits(
    models: dict[str, StreamedModel], states: dict[str, torch.Tensor], start: int, stop: int
) -> dict[str, torch.Tensor]:
    if models["tuned"].changes_head or models["base"].head_dtype != models["merged"].head_dtype:
        return {name: model.logits(states[name], start, stop) for name, model in models.items()}
    # The weights have proved that all three share one head: it is read once.
    together = models["base"].logits(torch.cat([states[name] for name in models]), start, stop)
    return dict(zip(models, together.chunk(len(models)), strict=True))


def steps_of(model: StreamedModel) -> int:
    """How often `compare` yields."""
    return 3 * (model.layers + 1) + math.ceil(model.vocabulary / CHUNK)


def _largest(a: float, b: float) -> float:
    """The larger one; NaN stays NaN."""
    return b if math.isnan(b) or b > a else a
