"""Where the device's time of a decode step goes."""

from __future__ import annotations

import time

import torch

from serving.drive import Drive


def profile(drive: Drive, count: int, models: list[str], steps: int = 20) -> list[str]:
    """Where the device's time of a decode step goes: microseconds a step by kernel."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recording

    drive.streams.clear()
    for i in range(count):
        drive.submit(models[i % len(models)], drive.prompt(192), 64)
    while any(len(s.arrivals) < 4 for s in drive.streams.values()):
        drive.step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    with recording(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(steps):
            drive.step()
        torch.cuda.synchronize()
    wall = (time.perf_counter() - began) / steps * 1e6
    while not all(s.done for s in drive.streams.values()):
        drive.step()
    kernels = sorted(found.key_averages(), key=lambda e: -e.device_time_total)
    total = sum(e.device_time_total for e in kernels) / steps
    lines = [f"{count} streams: {wall:.0f} us a step of wall time, {total:.0f} us in kernels"]
    for each in kernels[:14]:
        spent, calls = each.device_time_total / steps, each.count / steps
        lines.append(f"{spent:8.0f} us {calls:6.0f} calls  {each.key[:90]}")
    return lines
