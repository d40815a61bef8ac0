"""The card: its name, the rate of a large copy, and what its memory alone would allow.

`python bench/serving/card.py` prints {"device", "name", "copy_tb_per_s"} as JSON.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

import torch

COPY_BYTES = 2 << 30


def describe() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"device": "cpu", "name": f"CPU, torch {torch.__version__}", "copy_tb_per_s": None}
    name = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return {"device": "cuda", "name": name, "copy_tb_per_s": round(copy_rate() / 1e12, 3)}


def copy_rate() -> float:
    """Bytes a second of a copy within the device's memory, read and written bytes counted."""
    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds = []
    for _ in range(12):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) / 1e3)
    del source, target
    torch.cuda.empty_cache()
    return 2 * COPY_BYTES / statistics.median(seconds[2:])


def floor(config: dict[str, Any], rate: float, streams: int, context: float) -> float:
    """Tokens a second if a step took only the reading of weights, keys and values. bf16, no prefill."""
    from bullion.models.llama import LlamaShape

    shape = LlamaShape.from_config(config, "model")
    looked_up = shape.vocab_size * shape.hidden_size
    weights = 2 * (shape.parameters - looked_up)
    cached = 2 * 2 * shape.layers * shape.kv_size * context
    return streams * rate / (weights + streams * cached)


if __name__ == "__main__":
    print(json.dumps(describe()))
