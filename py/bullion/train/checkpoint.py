"""Checkpoints on disk: complete under their name, or not there at all.

A snapshot is taken between two steps and written beside the next ones; only then does the folder get
its name. It owns the folders `checkpoint-N` of one output folder and nothing else in it.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from bullion.contract.errors import Refusal
from bullion.models.lora import adapter_tensors, save_adapter

STATE = "trainer_state.json"
OPTIMIZER = "optimizer.pt"
SCHEDULER = "scheduler.pt"
RANDOM = "rng_state.pth"
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Snapshot:
    """A job between two steps, on the CPU; later steps do not change it."""

    step: int
    epoch: float
    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, Any] | None  # None: only the model is kept
    randomness: dict[str, Any]
    state: dict[str, Any]  # becomes trainer_state.json
    copied: torch.cuda.Event | None  # the copies are complete once it has passed


@dataclass(frozen=True)
class Checkpoint:
    step: int
    epoch: float
    path: Path


def snapshot(
    model: Any, optimizer: dict[str, Any] | None, step: int, epoch: float, state: dict[str, Any]
) -> Snapshot:
    """Copy what a checkpoint needs; on CUDA the copies run in the stream and nothing waits."""
    adapter = {key: _copy(tensor) for key, tensor in adapter_tensors(model).items()}
    kept = _copy_tree(optimizer) if optimizer is not None else None
    copied = None
    if any(t.is_pinned() for t in adapter.values()):
        copied = torch.cuda.Event()
        copied.record()
    return Snapshot(step, epoch, adapter, kept, randomness(), state, copied)


def randomness() -> dict[str, Any]:
    """The states of every random stream a step can draw from."""
    drawn: Any = numpy.random.get_state()
    name, keys, position, has_gauss, gauss = drawn
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype("int64")), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_randomness(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    name, keys, position, has_gauss, gauss = states["numpy"]
    numpy.random.set_state((name, keys.numpy().astype("uint32"), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


class Checkpoints:
    """The checkpoint folders of one job. Writes one at a time on a thread of its own.

    Folders that another job left in the same output folder are neither counted nor removed.
    """

    def __init__(self, output: Path, model: Any, base_name: str, total_limit: int | None) -> None:
        self.output = output
        self._own: list[Checkpoint] = []  # on disk, oldest first
        self._model = model
        self._base_name = base_name
        self._limit = total_limit
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[Checkpoint] | None = None

    def inherit(self, step: int) -> None:
        """The job goes on after `step`: the checkpoints up to there are its own."""
        self._own = [found for found in existing(self.output) if found.step <= step]

    def begin(self, taken: Snapshot) -> None:
        """Start writing; `finished` says when it is on disk. An earlier one must have been taken."""
        assert self._writing is None
        self._writing = self._thread.submit(self._write, taken)

    @property
    def busy(self) -> bool:
        return self._writing is not None

    def finished(self, wait: bool = False) -> Checkpoint | None:
        """The checkpoint that has reached the disk since the last call, if one has. Raises its failure."""
        if self._writing is None or not (wait or self._writing.done()):
            return None
        writing, self._writing = self._writing, None
        done = writing.result()
        self._own = [*(known for known in self._own if known.path != done.path), done]
        return done

    def close(self) -> None:
        """Let a running write end; leave nothing half written."""
        self._thread.shutdown(wait=True)

    def prune(self, best: Path | None) -> list[Checkpoint]:
        """Remove the oldest beyond the limit, never `best` and never the newest; returns what went."""
        if not self._limit or self._limit < 1:
            return []
        spared = {best, self._own[-1].path if self._own else None}
        removed: list[Checkpoint] = []
        for checkpoint in list(self._own):
            if len(self._own) <= self._limit:
                break
            if checkpoint.path not in spared:
                remove(checkpoint.path)
                self._own.remove(checkpoint)
                removed.append(checkpoint)
        return removed

    def _write(self, taken: Snapshot) -> Checkpoint:
        final = self.output / f"checkpoint-{taken.step}"
        partial = self.output / (final.name + _PARTIAL)
        if taken.copied is not None:
            taken.copied.synchronize()
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_adapter(self._model, partial, self._base_name, taken.adapter)
            if taken.optimizer is not None:
                torch.save(taken.optimizer, partial / OPTIMIZER)
                torch.save({"last_step": taken.step}, partial / SCHEDULER)
                torch.save(taken.randomness, partial / RANDOM)
            text = json.dumps(taken.state, ensure_ascii=False, indent=2)
            (partial / STATE).write_text(text + "\n", encoding="utf-8")
            publish(partial, final)
        except Exception as raised:
            shutil.rmtree(partial, ignore_errors=True)
            raise no_room(raised, self.output) or raised from raised
        return Checkpoint(taken.step, taken.epoch, final)


def publish(partial: Path, final: Path) -> None:
    """Give a complete folder its name, after all of it has reached the disk."""
    for file in partial.rglob("*"):
        if file.is_file():
            sync(file)
    sync(partial)
    if final.exists():
        remove(final)
    os.rename(partial, final)
    sync(final.parent)


def remove(folder: Path) -> None:
    """Remove a folder so that it is never seen half empty under its name."""
    doomed = folder.with_name(folder.name + ".removed")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(output: Path) -> None:
    """Drop what an earlier process left half written or half removed."""
    for left in [*output.glob(f"checkpoint-*{_PARTIAL}"), *output.glob("checkpoint-*.removed")]:
        shutil.rmtree(left, ignore_errors=True)


def existing(output: Path) -> list[Checkpoint]:
    """The complete checkpoints of a folder, oldest first."""
    found = []
    for folder in output.glob("checkpoint-*"):
        number = folder.name.removeprefix("checkpoint-")
        if number.isdigit() and (folder / STATE).is_file():
            state = json.loads((folder / STATE).read_text(encoding="utf-8"))
            found.append(Checkpoint(int(number), float(state.get("epoch", 0.0)), folder))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def no_room(raised: BaseException, where: Path) -> Refusal | None:
    """A full disk in any of its disguises, as a refusal; None when it is another failure."""
    full = isinstance(raised, OSError) and raised.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
    )
    text = str(raised)
    full = full or "No space left" in text or "os error 28" in text
    if not full and isinstance(raised, RuntimeError) and "writ" in text:
        full = shutil.disk_usage(where).free < 1 << 20
    if not full:
        return None
    free = shutil.disk_usage(where).free
    return Refusal(
        "disk_full",
        f"Cannot save into {where} as the disk is full ({free / 1e6:.0f} MB free); make room and "
        "resume from the last checkpoint",
        "output_dir",
    )


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    if tensor.device.type == "cpu":
        return tensor.clone()
    landed = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return landed.copy_(tensor, non_blocking=True)


def _copy_tree(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return _copy(value)
    if isinstance(value, dict):
        return {key: _copy_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy_tree(item) for item in value)
    return value
