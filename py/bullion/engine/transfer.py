"""Copies between host and GPU that nobody waits for. What comes back is valid once its event is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bullion.engine.logprobs import Scores


def pinned(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Zeros on the host that a copy can read by itself."""
    return torch.zeros(rows, columns, dtype=dtype, pin_memory=True)


def to_device(values: Any, device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
    """Numbers in (nested) lists as a tensor on the device."""
    if device.type == "cpu":
        return torch.tensor(values, dtype=dtype)
    return torch.tensor(values, dtype=dtype, pin_memory=True).to(device, non_blocking=True)


def to_host(values: Tensor) -> Tensor:
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


def scores_to_host(scores: Scores) -> Scores:
    return Scores(to_host(scores.chosen), to_host(scores.top), to_host(scores.top_ids))


def mark() -> torch.cuda.Event:
    """An event behind all work that has been launched."""
    event = torch.cuda.Event()
    event.record()
    return event
