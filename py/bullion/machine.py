"""What this machine is: interpreter, libraries, device, memory. Changes nothing but the thread count."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from typing import Any

import torch

from bullion.contract.worker import Event, FinishedEvent

LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "tokenizers",
    "bitsandbytes",
    "llguidance",
)


def use_threads(threads: int | None) -> None:
    """Sets torch's thread count. None takes half the processors: beside other work, and the service
    is always there, threads that wait for each other make small products slower, not faster."""
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 2) // 2))


def describe(open_device: bool) -> dict[str, Any]:
    """JSON values: versions, device, memory in bytes.

    Asking for free memory opens the device, which takes memory on it: `open_device` says whether to.
    """
    machine: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "device": "cpu",
        "gpus": [],
    }
    if torch.cuda.is_available():
        machine["device"] = "cuda"
        machine["cuda"] = torch.version.cuda
    if machine["device"] == "cuda" and open_device:
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            machine["gpus"].append(
                {
                    "name": torch.cuda.get_device_name(index),
                    "memory_bytes": total,
                    "free_bytes": free,
                    "capability": list(torch.cuda.get_device_capability(index)),
                }
            )
    return machine


def probe(id: str) -> Iterator[Event]:
    yield FinishedEvent(id, describe(open_device=True))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
