"""The proof by weights: every tensor of the merged files changed by what it should, or not at all.

Computes each expected tensor again from base and adapters, in its own way and by blocks of rows,
and compares. It trusts nothing that the merge kept in memory: both sides are read from disk, after
the last byte was written. Always on the CPU: a crew of threads reads no slower than a GPU is fed,
and reading is most of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from bullion.contract.errors import Refusal
from bullion.export.changes import Change, Changes, part
from bullion.export.crew import Crew
from bullion.export.shards import slices
from bullion.models.adapter import LoraPair
from bullion.models.tensors import Slot, TensorFolder

BLOCK = 2**20  # elements at a time: they stay in a core's cache
PIECE = 16 * BLOCK  # elements a thread weighs before it tells
NOISE = 1e-6  # of a block's largest weight: what two orders of fp32 sums may differ by


@dataclass
class Tally:
    """What blocks of one tensor showed."""

    same: bool = True  # every block is the base's
    due: bool = False  # some block should have changed
    wrong: list[tuple[float, float]] = field(default_factory=list)
    # of wrong blocks: <change, due change>, |due change|²

    def add(self, other: Tally) -> None:
        self.same, self.due = self.same and other.same, self.due or other.due
        self.wrong += other.wrong


@dataclass
class WeightProof:
    """Tensor names by what was found; `wrong` with the factor by which the change came out."""

    changed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # no adapter names them, and they are the base's
    unchanged_by_right: list[str] = field(default_factory=list)  # adapted, too little to show
    skipped: list[str] = field(default_factory=list)
    wrong: dict[str, float] = field(default_factory=dict)
    touched: list[str] = field(default_factory=list)  # no adapter names them, yet they differ

    def settle(self, name: str, tally: Tally, adapted: bool) -> None:
        """Enter the verdict on one whole tensor."""
        if not adapted or not tally.due:
            known = self.unchanged_by_right if adapted else self.kept
            (known if tally.same else self.touched).append(name)
        elif tally.same:
            self.skipped.append(name)
        elif tally.wrong:
            length = sum(block[1] for block in tally.wrong)
            moved = sum(block[0] for block in tally.wrong)
            self.wrong[name] = moved / length if length else math.inf
        else:
            self.changed.append(name)

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
    crew: Crew,
    proof: WeightProof,
) -> Iterator[str]:
    """Fill `proof`; yields each tensor's name when it is done. `dtype` is the cast of the export."""
    if base.slots.keys() != merged.slots.keys():
        odd = sorted(base.slots.keys() ^ merged.slots.keys())
        raise Refusal(
            "merge_tensors_missing",
            f"Base and merged model hold different tensors ({len(odd)}), the first {odd[0]}",
        )

    def work(piece: tuple[str, slice]) -> Tally:
        name, rows = piece
        return _weigh_rows(name, rows, base, merged, changes.get(name, []))

    runs = {
        name: slices(slot.shape, PIECE) if _is_alike(slot, merged.slots[name], dtype) else []
        for name, slot in base.slots.items()
    }
    tallies = crew.each(work, [(name, rows) for name in runs for rows in runs[name]])
    for name, slot in base.slots.items():
        tally = Tally(same=_is_alike(slot, merged.slots[name], dtype))
        for _ in runs[name]:
            tally.add(next(tallies))
        proof.settle(name, tally, adapted=name in changes)
        yield name


def _is_alike(old: Slot, new: Slot, dtype: torch.dtype | None) -> bool:
    cast = dtype if dtype is not None and old.dtype.is_floating_point else old.dtype
    return (new.shape, new.dtype) == (old.shape, cast)


def _weigh_rows(
    name: str,
    rows: slice,
    base: TensorFolder,
    merged: TensorFolder,
    changes: list[Change],
) -> Tally:
    tally = Tally()
    for block in slices(base.slots[name].shape, BLOCK, rows):
        old, new = _block(base, name, block), _block(merged, name, block)
        old = old.to(new.dtype)
        tally.same = tally.same and torch.equal(new, old)
        if not changes:
            continue
        exact = _expected(old, part(changes, block))
        rounded = exact.to(old.dtype)
        tally.due = tally.due or not torch.equal(rounded, old)
        if torch.equal(new, rounded):
            continue
        odd = new != rounded
        if not _rounds_to(new[odd], exact[odd], float(exact.abs().max())):
            delta = (exact - old.float()).double()
            moved = (new.float() - old.float()).double()
            tally.wrong.append((float((moved * delta).sum()), float((delta * delta).sum())))
    return tally


def _expected(old: torch.Tensor, changes: list[Change]) -> torch.Tensor:
    """The merged weight in fp32, before the last rounding."""
    exact = old.float()
    for i, change in enumerate(changes):
        if i > 0:
            exact = exact.to(old.dtype).float()
        exact = _added(exact, change) if isinstance(change, LoraPair) else change.float()
    return exact


def _added(weight: torch.Tensor, pair: LoraPair) -> torch.Tensor:
    total = (pair.b.float() @ pair.a.float()).mul_(pair.scale).add_(weight)
    if pair.magnitude is None:
        return total
    size = total.square().sum(dim=1, keepdim=True).sqrt()
    return total * (pair.magnitude.float().unsqueeze(1) / size)


def _rounds_to(found: torch.Tensor, exact: torch.Tensor, largest: float) -> bool:
    """Whether every `found` is a right rounding of `exact`, give or take the order of fp32 sums."""
    noise = NOISE * largest
    low, high = (exact - noise).to(found.dtype), (exact + noise).to(found.dtype)
    return bool(((low <= found) & (found <= high)).all())


def _block(folder: TensorFolder, name: str, rows: slice) -> torch.Tensor:
    if not folder.slots[name].shape:
        return folder.read(name)
    return folder.read_rows(name, rows.start, rows.stop)
