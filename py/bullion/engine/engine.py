"""The serving engine: models by name, work in, one step at a time, events out.

It owns which bases are resident and which names lead to them. No thread, no HTTP: its caller loops
`submit* / step`. Refusals of submitted work leave as FailedEvents.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bullion.contract.errors import Refusal, detail_of
from bullion.contract.worker import (
    Detokenize,
    EngineOpening,
    Event,
    FailedEvent,
    FinishedEvent,
    Generate,
    Load,
    MessageEvent,
    ServedModel,
    StoppedEvent,
    Tokenize,
    Unload,
)
from bullion.engine.adapters import ResidentAdapter
from bullion.engine.loading import PAGE_TOKENS, load_resident, weight_dtype
from bullion.engine.memory import free_bytes, give_back, weight_bytes
from bullion.engine.resident import Resident
from bullion.models.fetch import local_folder
from bullion.models.llama import LlamaShape

Work = Load | Unload | Generate | Tokenize | Detokenize


@dataclass
class _Name:
    """A served model's name: the base it leads to and the adapter over it."""

    model: ServedModel
    resident: Resident
    adapter: ResidentAdapter | None
    used: float  # when a request last asked for it, monotonic seconds


class Engine:
    def __init__(self, opening: EngineOpening) -> None:
        self._opening = opening
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._threads = torch.get_num_threads()
        self._residents: list[Resident] = []
        self._names: dict[str, _Name] = {}
        self._loading: deque[tuple[str, Generator[None, None, None]]] = deque()
        self._leaving: list[tuple[str, _Name]] = []  # unloads that wait for running requests
        self._outbox: list[Event] = []

    @property
    def busy(self) -> bool:
        return bool(
            self._outbox
            or self._loading
            or self._leaving
            or any(resident.busy for resident in self._residents)
        )

    @property
    def cold(self) -> bool:
        """Whether steps are of use even while nothing is asked for; see Runner.cold."""
        return any(resident.cold for resident in self._residents)

    def submit(self, work: Work) -> None:
        """Takes work in. What cannot be done leaves as a FailedEvent; nothing is raised."""
        try:
            if isinstance(work, Load):
                self._loading.append((work.id, self._load(work.id, work.model)))
            elif isinstance(work, Unload):
                self._unload(work)
            elif isinstance(work, Generate):
                name = self._named(work.spec.model)
                name.used = time.monotonic()
                name.resident.generate(work.id, work.spec, name.adapter)
            elif isinstance(work, Tokenize):
                resident = self._named(work.model).resident
                ids = resident.tokenize(work.prompt, work.add_special_tokens)
                result = {"ids": ids, "context_length": resident.context_length}
                self._outbox.append(FinishedEvent(work.id, result))
            else:
                bytes_of = self._named(work.model).resident.tokenizer.bytes_of
                text = bytes_of.decode(work.ids, special=True)
                self._outbox.append(FinishedEvent(work.id, {"text": text}))
        except Refusal as refusal:
            self._outbox.append(FailedEvent(work.id, detail_of(refusal)))

    def cancel(self, id: str) -> None:
        """Ends a request or a load; an unknown id has ended already."""
        for resident in self._residents:
            self._outbox += resident.cancel(id)
        for entry in [entry for entry in self._loading if entry[0] == id]:
            self._loading.remove(entry)
            entry[1].close()
            self._outbox.append(StoppedEvent(id, "cancel"))

    def step(self) -> list[Event]:
        """A piece of loading and a step of every base that has work; the events they made. With
        nothing to do, something is made ready for what may come."""
        if not self.busy:
            self._warm()
        self._advance_loading()
        for resident in self._residents:
            if not resident.busy:
                continue
            try:
                self._outbox += resident.step()
            except Exception as raised:
                traceback.print_exception(raised, file=sys.stderr)
                self._outbox += resident.fail(raised)
                if isinstance(raised, torch.AcceleratorError):
                    raise  # nothing on this device works any more: the process has to go
        self._finish_leaving()
        events, self._outbox = self._outbox, []
        return events

    def status(self) -> dict[str, Any]:
        """JSON values; may be called from another thread."""
        residents = list(self._residents)
        pools = [r.pool for r in residents]
        status: dict[str, Any] = {
            "models": sorted(self._names),
            "running": sum(r.scheduler.running for r in residents),
            "waiting": sum(r.scheduler.waiting for r in residents),
            "parkings": sum(r.scheduler.parkings for r in residents),
            "loading": len(self._loading),
            "kv_pages_used": sum(p.held for p in pools),
            "kv_pages_total": sum(p.capacity for p in pools),
            "page_tokens": PAGE_TOKENS,
            "adapters": sum(len(r.adapters) for r in residents),
            "device": self._device.type,
        }
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info()
            status["memory_bytes"] = {"used": total - free, "total": total}
        return status

    def _warm(self) -> None:
        resident = next((r for r in self._residents if r.cold), None)
        if resident is None:
            return
        try:
            resident.warm()
        except Exception as raised:
            traceback.print_exception(raised, file=sys.stderr)
            if isinstance(raised, torch.AcceleratorError):
                raise

    def _named(self, name: str) -> _Name:
        found = self._names.get(name)
        if found is None:
            raise Refusal(
                "model_not_loaded",
                f"The engine has no model {name!r} loaded; loaded are "
                f"{', '.join(sorted(self._names)) or 'none'}",
                "model",
            )
        return found

    def _advance_loading(self) -> None:
        if not self._loading:
            return
        id, work = self._loading[0]
        try:
            next(work)
            return
        except StopIteration:
            pass
        except Exception as raised:
            self._outbox.append(FailedEvent(id, detail_of(raised)))
        if self._loading and self._loading[0][0] == id:
            self._loading.popleft()

    def _load(self, id: str, model: ServedModel) -> Generator[None, None, None]:
        began = time.perf_counter()
        folder = local_folder(model.base).resolve()
        resident = self._resident_of(folder)
        if resident is None:
            shape = LlamaShape.read(folder)
            dtype = weight_dtype(shape, self._device)
            self._make_room(id, folder.name, weight_bytes(shape, dtype, self._device))
            resident = yield from load_resident(
                folder, shape, self._device, self._opening, self._threads
            )
            self._residents.append(resident)
        adapter = resident.adapters.hold(Path(model.adapter)) if model.adapter else None
        replaced = self._names.get(model.name)
        self._names[model.name] = _Name(model, resident, adapter, time.monotonic())
        if replaced is not None:
            self._let_go(replaced)
        result = {
            "name": model.name,
            "seconds": round(time.perf_counter() - began, 3),
            "context_length": resident.context_length,
            "vocab_size": resident.shape.vocab_size,
            "parameters": resident.shape.parameters,
            "eos_ids": sorted(resident.tokenizer.eos),
            "kv_pages": resident.pool.capacity,
            "page_tokens": PAGE_TOKENS,
            "device": self._device.type,
            "tokenizer": resident.tokenizer.info(resident.context_length),
        }
        self._outbox.append(FinishedEvent(id, result))

    def _make_room(self, id: str, name: str, needed: int) -> None:
        """Unloads idle bases, the least recently used first, until a new one fits."""
        while free_bytes(self._device) < needed:
            idle = [r for r in self._residents if not r.busy]
            if not idle:
                raise Refusal(
                    "out_of_memory",
                    f"Cannot load {name!r} as it needs {needed / 1e9:.1f} GB and "
                    f"{free_bytes(self._device) / 1e9:.1f} GB are free: unload a model first",
                    "model",
                )
            oldest = min(idle, key=self._last_used)
            gone = [n for n, entry in self._names.items() if entry.resident is oldest]
            for other in gone:
                self._let_go(self._names.pop(other))
            self._drop(oldest)
            text = f"Unloaded {', '.join(gone)} (idle longest) to make room for {name}"
            self._outbox.append(MessageEvent(id, "model_unloaded", text, data={"models": gone}))

    def _unload(self, work: Unload) -> None:
        name = self._named(work.model)
        del self._names[work.model]
        gone = Refusal("model_not_loaded", f"{work.model!r} is being unloaded", "model")
        self._outbox += name.resident.fail(gone, waiting_for=work.model)
        self._leaving.append((work.id, name))

    def _finish_leaving(self) -> None:
        """Unloads whose last request has ended; bases that no name leads to are given back."""
        gone: list[Event] = []
        for id, name in list(self._leaving):
            if name.model.name not in self._names and name.resident.uses(name.model.name):
                continue
            self._leaving.remove((id, name))
            self._let_go(name)
            gone.append(FinishedEvent(id, {"name": name.model.name}))
        wanted = [n.resident for n in self._names.values()] + [n.resident for _, n in self._leaving]
        for resident in list(self._residents):
            if resident not in wanted and not resident.busy:
                self._drop(resident)
        self._outbox += gone  # only now: who hears of it may count on the memory

    def _let_go(self, name: _Name) -> None:
        if name.adapter is not None:
            name.resident.adapters.release(name.adapter)

    def _drop(self, resident: Resident) -> None:
        self._residents.remove(resident)
        resident.close()
        give_back(self._device)

    def _resident_of(self, folder: Path) -> Resident | None:
        return next((r for r in self._residents if r.folder == folder), None)

    def _last_used(self, resident: Resident) -> float:
        used = [n.used for n in self._names.values() if n.resident is resident]
        return max(used, default=0.0)
