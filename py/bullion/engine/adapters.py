"""LoRA adapters over one resident base: from a PEFT folder to slots of its fused layers.

It owns the slots: which adapter lies in which, and who still uses it. The reading is
models/adapter's; the products are the sites' own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from bullion.contract.errors import Refusal
from bullion.models.adapter import Adapter, LoraPair, read_adapter
from bullion.models.llama import LlamaShape

PARTS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""The modules that each fused layer joins, in the order of its rows."""


class AdapterSite(Protocol):
    def put(self, slot: int, parts: list[tuple[Tensor, Tensor] | None]) -> None: ...
    def drop(self, slot: int) -> None: ...


@dataclass(eq=False)
class ResidentAdapter:
    """An adapter in its slot. `users` counts names and sequences; at 0 the slot is given back."""

    folder: Path
    stamp: tuple[int, ...]  # of its files: another content is another adapter
    slot: int
    salt: bytes
    users: int = 0


class AdapterSlots:
    """The adapters of one base. `site(layer, kind)` is the fused layer to put them into; `reserve`
    (slot, rank) is told before."""

    def __init__(
        self,
        shape: LlamaShape,
        site: Callable[[int, str], AdapterSite],
        reserve: Callable[[int, int], None],
    ) -> None:
        self._shape = shape
        self._site = site
        self._reserve = reserve
        self._resident: list[ResidentAdapter] = []
        self._serial = itertools.count(1)

    def __len__(self) -> int:
        return len(self._resident)

    def hold(self, folder: Path) -> ResidentAdapter:
        """The adapter of `folder`, loaded when it is not, with one user more.

        Raises Refusal: what `read_adapter` raises, unsupported_adapter, adapter_mismatch.
        """
        stamp = _stamp(folder)
        for resident in self._resident:
            if resident.folder == folder and resident.stamp == stamp:
                resident.users += 1
                return resident
        adapter = read_adapter(folder)
        self._check(adapter, folder)
        taken = {resident.slot for resident in self._resident}
        slot = next(i for i in itertools.count() if i not in taken)
        self._reserve(slot, max((pair.a.shape[0] for pair in adapter.pairs.values()), default=1))
        for layer in range(self._shape.layers):
            for kind, modules in PARTS.items():
                pairs = [adapter.pairs.get(f"model.layers.{layer}.{name}") for name in modules]
                if any(pairs):
                    self._site(layer, kind).put(slot, [_scaled(pair) for pair in pairs])
        salt = next(self._serial).to_bytes(8, "little")
        resident = ResidentAdapter(folder, stamp, slot, salt, users=1)
        self._resident.append(resident)
        return resident

    def release(self, adapter: ResidentAdapter) -> None:
        """One user less; the last one frees the slot."""
        adapter.users -= 1
        if adapter.users > 0:
            return
        self._resident.remove(adapter)
        for layer in range(self._shape.layers):
            for kind in PARTS:
                self._site(layer, kind).drop(adapter.slot)

    def _check(self, adapter: Adapter, folder: Path) -> None:
        known = {
            f"model.layers.{layer}.{name}": sizes
            for layer in range(self._shape.layers)
            for name, sizes in _sizes(self._shape).items()
        }
        strange = sorted(set(adapter.pairs) - set(known)) + sorted(adapter.replaced)
        if strange or any(pair.magnitude is not None for pair in adapter.pairs.values()):
            what = f"changes {strange[0]}" if strange else "is DoRA"
            raise Refusal(
                "unsupported_adapter",
                f"Cannot serve the adapter in {folder} unmerged as it {what}: export it merged "
                "and serve that",
                "model",
            )
        for name, pair in adapter.pairs.items():
            found = (pair.b.shape[0], pair.a.shape[1])
            if found != known[name]:
                raise Refusal(
                    "adapter_mismatch",
                    f"The adapter in {folder} belongs to another base: {name} is "
                    f"{found[0]} × {found[1]} there and {known[name][0]} × {known[name][1]} here",
                    "model",
                )


def _sizes(shape: LlamaShape) -> dict[str, tuple[int, int]]:
    """(out, in) of each adaptable module of a layer."""
    h, i = shape.hidden_size, shape.intermediate_size
    return {
        "self_attn.q_proj": (shape.q_size, h),
        "self_attn.k_proj": (shape.kv_size, h),
        "self_attn.v_proj": (shape.kv_size, h),
        "self_attn.o_proj": (h, shape.q_size),
        "mlp.gate_proj": (i, h),
        "mlp.up_proj": (i, h),
        "mlp.down_proj": (h, i),
    }


def _scaled(pair: LoraPair | None) -> tuple[Tensor, Tensor] | None:
    """A and B in fp32 with the scale inside B."""
    if pair is None:
        return None
    return pair.a.to(torch.float32), pair.b.to(torch.float32) * pair.scale


def _stamp(folder: Path) -> tuple[int, ...]:
    names = ("adapter_config.json", "adapter_model.safetensors")
    files = [folder / name for name in names]
    return tuple(n for f in files if f.is_file() for n in (f.stat().st_mtime_ns, f.stat().st_size))
