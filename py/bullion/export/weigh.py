"""The proof by weights: every tensor of the merged files changed by what it should, or not at all.

Computes each expected tensor again from base and adapters, in its own way and by blocks of rows,
and compares. It trusts nothing that the merge kept in memory: both sides are read from disk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from bullion.contract.errors import Refusal
from bullion.export.changes import Change, Changes
from bullion.models.adapter import LoraPair
from bullion.models.tensors import TensorFolder

BLOCK = {"cpu": 2**20, "cuda": 2**26}  # elements at a time; on the CPU they stay in the cache
NOISE = 1e-6  # of a block's largest weight: what two orders of fp32 sums may differ by


@dataclass
class WeightProof:
    """Tensor names by what was found; `wrong` with the factor by which the change came out."""

    changed: list[str] = field(default_factory=list)
    unchanged_by_right: list[str] = field(default_factory=list)  # adapted, too little to show
    skipped: list[str] = field(default_factory=list)
    wrong: dict[str, float] = field(default_factory=dict)
    touched: list[str] = field(default_factory=list)  # no adapter names them, yet they differ

    def judge(self, adapted: bool) -> None:
        """Raises Refusal: merge_changed_nothing, merge_layer_skipped, merge_changed_too_much,
        merge_delta_wrong."""
        if adapted and not self.changed and not self.wrong:
            why = (
                "the adapter adds nothing that survives rounding: was it trained?"
                if not self.skipped
                else f"all {len(self.skipped)} adapted tensors are those of the base"
            )
            raise Refusal("merge_changed_nothing", f"The merged model is the base itself: {why}")
        if self.skipped:
            raise Refusal(
                "merge_layer_skipped",
                f"{len(self.skipped)} adapted tensors were left as in the base, the first "
                f"{self.skipped[0]}: merge again",
            )
        if self.touched:
            raise Refusal(
                "merge_changed_too_much",
                f"{len(self.touched)} tensors differ from the base though no adapter changes them, "
                f"the first {self.touched[0]}: merge again",
            )
        if self.wrong:
            name, factor = next(iter(self.wrong.items()))
            raise Refusal(
                "merge_delta_wrong",
                f"{len(self.wrong)} tensors did not change by what their adapter adds, the first "
                f"{name} by {factor:.3f} times of it: merge again",
            )


def weigh(
    base: TensorFolder,
    merged: TensorFolder,
    changes: Changes,
    dtype: torch.dtype | None,
    device: torch.device,
    proof: WeightProof,
) -> Iterator[str]:
    """Fill `proof`; yields each tensor's name when it is done. `dtype` is the cast of the export."""
    if base.slots.keys() != merged.slots.keys():
        odd = sorted(base.slots.keys() ^ merged.slots.keys())
        raise Refusal(
            "merge_tensors_missing",
            f"Base and merged model hold different tensors ({len(odd)}), the first {odd[0]}",
        )
    for name, slot in base.slots.items():
        _weigh_tensor(name, slot.shape, base, merged, changes.get(name, []), dtype, device, proof)
        yield name


def _weigh_tensor(
    name: str,
    shape: tuple[int, ...],
    base: TensorFolder,
    merged: TensorFolder,
    changes: list[Change],
    dtype: torch.dtype | None,
    device: torch.device,
    proof: WeightProof,
) -> None:
    same, due = True, False
    wrong: list[tuple[float, float]] = []  # of wrong blocks: <change, due change>, |due change|²
    step = max(1, BLOCK[device.type] // max(1, math.prod(shape[1:])))
    for start in range(0, shape[0] if shape else 1, step):
        rows = slice(start, start + step)
        old = _block(base, name, rows).to(device)
        new = _block(merged, name, rows).to(device)
        if dtype is not None and old.is_floating_point():
            old = old.to(dtype)
        if not changes:
            if new.dtype != old.dtype or not torch.equal(new, old):
                proof.touched.append(name)
                return
            continue
        exact = _expected(old, changes, rows)
        rounded = exact.to(old.dtype)
        due = due or not torch.equal(rounded, old)
        same = same and torch.equal(new, old)
        odd = new != rounded
        if odd.any() and not _rounds_to(new[odd], exact[odd], float(exact.abs().max())):
            delta = (exact - old.float()).double()
            moved = (new.float() - old.float()).double()
            wrong.append((float((moved * delta).sum()), float((delta * delta).sum())))
    if not changes:
        return
    if not due:
        (proof.unchanged_by_right if same else proof.touched).append(name)
    elif same:
        proof.skipped.append(name)
    elif wrong:
        length = sum(block[1] for block in wrong)
        proof.wrong[name] = sum(block[0] for block in wrong) / length if length else math.inf
    else:
        proof.changed.append(name)


def _expected(old: torch.Tensor, changes: list[Change], rows: slice) -> torch.Tensor:
    """Rows of the merged weight in fp32, before the last rounding."""
    exact = old.float()
    for change in changes:
        exact = exact.to(old.dtype).float()
        if isinstance(change, torch.Tensor):
            exact = change[rows].to(old.device, torch.float32)
        else:
            exact = _added(exact, change, rows)
    return exact


def _added(weight: torch.Tensor, pair: LoraPair, rows: slice) -> torch.Tensor:
    a = pair.a.to(weight.device, torch.float32)
    b = pair.b[rows].to(weight.device, torch.float32)
    total = (b @ a).mul_(pair.scale).add_(weight)
    if pair.magnitude is None:
        return total
    size = total.square().sum(dim=1, keepdim=True).sqrt()
    return total * (pair.magnitude[rows].to(weight.device, torch.float32).unsqueeze(1) / size)


def _rounds_to(found: torch.Tensor, exact: torch.Tensor, largest: float) -> bool:
    """Whether every `found` is a right rounding of `exact`, give or take the order of fp32 sums."""
    noise = NOISE * largest
    low, high = (exact - noise).to(found.dtype), (exact + noise).to(found.dtype)
    return bool(((low <= found) & (found <= high)).all())


def _block(folder: TensorFolder, name: str, rows: slice) -> torch.Tensor:
    if not folder.slots[name].shape:
        return folder.read(name)
    return folder.read_rows(name, rows.start, rows.stop)
