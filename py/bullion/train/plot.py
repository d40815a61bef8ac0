"""training_loss.png: raw, smoothed and evaluation loss over the steps. Draws; measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot_loss(history: list[dict[str, Any]], path: Path) -> None:
    """Draw the losses of a trainer_state.json's log_history."""
    from matplotlib.figure import Figure

    raw = [(h["step"], h["loss"]) for h in history if "loss" in h]
    held_out = [(h["step"], h["eval_loss"]) for h in history if "eval_loss" in h]
    figure = Figure(figsize=(8, 5), dpi=120)
    axes = figure.add_subplot()
    if raw:
        steps, losses = zip(*raw, strict=True)
        axes.plot(steps, losses, color="#1f77b4", alpha=0.35, label="loss")
        axes.plot(steps, smoothed(list(losses)), color="#1f77b4", label="smoothed")
    if held_out:
        steps, losses = zip(*held_out, strict=True)
        axes.plot(steps, losses, color="#d62728", marker="o", label="evaluation")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    if raw or held_out:
        axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def smoothed(values: list[float]) -> list[float]:
    """An exponential mean over about a fortieth of the curve, at least two values."""
    if not values:
        return []
    gain = 2 / (max(2.0, len(values) / 40) + 1)
    means = [values[0]]
    for value in values[1:]:
        means.append(means[-1] + gain * (value - means[-1]))
    return means
