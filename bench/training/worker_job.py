"""A trainer process, opened as the service opens one: takes one submission, prints its events.

Waits for the submission on a line of its input, as a spare interpreter does, and writes each event as a
line of JSON. After the last one it says what the process took of the device. It decides nothing.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "py"))

from bullion import worker

POLL_S = 0.002
ENDS = ("finished", "failed", "stopped")


def ask(answer: str) -> Any:
    told = json.loads(answer)
    if "error" in told:
        raise SystemExit(json.dumps(told["error"]))
    return told["ok"]


def say(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def memory() -> dict[str, Any]:
    """Bytes of the device at the highest, by torch, and what the process holds beside the allocator."""
    import torch

    if not torch.cuda.is_available():
        return {"type": "memory"}
    free, total = torch.cuda.mem_get_info()
    return {
        "type": "memory",
        "device": torch.cuda.get_device_name(),
        "allocated": torch.cuda.max_memory_allocated(),
        "reserved": torch.cuda.max_memory_reserved(),
        "context": total - free - torch.cuda.memory_reserved(),
    }


def main() -> None:
    ask(worker.open(json.dumps({"role": "trainer", "threads": None})))
    submission = sys.stdin.readline()
    if not submission:
        return
    ask(worker.submit(submission))
    while True:
        for event in ask(worker.drain())["events"]:
            say(event)
            if event["type"] in ENDS:
                say(memory())
                return
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
