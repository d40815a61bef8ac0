"""What is asked of an engine or a service, and what is made of the times. Sends nothing, no torch.

One definition for the engine alone and for HTTP clients, so that their figures can be divided.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Plan:
    """The loads of one kind of machine."""

    crowds: tuple[int, ...]  # streams started at once, one load each
    new_tokens: int
    rounds: int  # of each load; the middle one counts
    kept: int  # streams kept running while requests arrive
    kept_seconds: float
    adapters: int  # at most, over one base


PLANS = {
    "cuda": Plan((1, 64, 128), 256, 3, 64, 6.0, 8),
    "cpu": Plan((1, 8), 128, 3, 8, 4.0, 1),
}


@dataclass
class Stream:
    """Times of one request, seconds on one clock."""

    started: float
    arrivals: list[float] = field(default_factory=list)
    tokens: int = 0
    done: bool = False


def crowd_name(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"


def prompt_lengths(count: int) -> list[int]:
    """128 to 256 tokens, 192 in the mean; the same for the same count."""
    chance = random.Random(count)
    return [chance.randint(128, 256) for _ in range(count)]


def prompt_ids(serial: int, length: int, vocabulary: int) -> list[int]:
    """Random ids below the control tokens; another serial gives others, so no cache answers."""
    chance = random.Random(serial)
    most = vocabulary - 300
    return [chance.randrange(most) for _ in range(length)]


def crowd_serial(count: int) -> int:
    """From where the prompts of a crowd are counted, far from those of others."""
    return 10_000 * count


def arrivals(count: int) -> Callable[[], tuple[int, int]]:
    """Prompt and new tokens of the next request while `count` streams are kept running."""
    chance = random.Random(count + 9)
    return lambda: (chance.randint(128, 256), chance.randint(32, 256))


def figures_at_once(streams: list[Stream], seconds: float) -> dict[str, Any]:
    """Tokens a second of wall time, prefill included."""
    tokens = sum(s.tokens for s in streams)
    gaps = _gaps(streams)
    return {
        "streams": len(streams),
        "tokens": tokens,
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds, 1),
        "first_token_ms": round(
            statistics.median(s.arrivals[0] - s.started for s in streams) * 1e3, 1
        ),
        "gap_p50_ms": round(quantile(gaps, 0.5) * 1e3, 2),
        "gap_p95_ms": round(quantile(gaps, 0.95) * 1e3, 2),
    }


def figures_kept(streams: list[Stream]) -> dict[str, Any]:
    gaps = _gaps(streams)
    return {
        "requests": len(streams),
        "gap_p50_ms": round(quantile(gaps, 0.5) * 1e3, 2),
        "gap_p95_ms": round(quantile(gaps, 0.95) * 1e3, 2),
        "gap_max_ms": round(max(gaps) * 1e3, 2),
    }


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The round of median speed, with the speeds of all; one stream's first token is the earliest of them.

    A first token that is half a character shows no text, so that a round of one prompt tells when the
    second or third token came. Among hundreds of streams that is lost in the median.
    """
    ordered = sorted(rounds, key=lambda r: r["tokens_per_second"])
    found = ordered[len(ordered) // 2] | {"rounds": [r["tokens_per_second"] for r in rounds]}
    if found["streams"] == 1:
        found["first_token_ms"] = min(r["first_token_ms"] for r in rounds)
    return found


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def _gaps(streams: list[Stream]) -> list[float]:
    return [b - a for s in streams for a, b in zip(s.arrivals, s.arrivals[1:], strict=False)]
