"""What is freed goes back to the system."""

from __future__ import annotations

import os
import platform

import pytest
import torch
from bullion.engine.memory import give_back


def resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other allocators have their own ways"
)
def test_freed_tensors_below_malloc_s_threshold_go_back_to_the_system() -> None:
    torch.zeros(7_000_000)  # freed: from now on malloc keeps 28 MB and less in its heaps
    held = [torch.ones(500_000) for _ in range(200)]  # 400 MB
    pin = [torch.ones(100) for _ in range(100)]  # behind them, so that the heap cannot shrink
    before = resident_mb()
    held.clear()
    give_back(torch.device("cpu"))
    assert before - resident_mb() > 300
    assert pin
