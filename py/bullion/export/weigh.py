"""The proof by weights: every tensor of the merged files changed by what it should, or not at all.

Computes each expected tensor again from base and adapters, in its own way and by blocks of rows,
and compares. It trusts nothing that the merge kept in memory: both sides are read from disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from bullion.contract.errors import Refusal
from bullion.export.changes import Change, Changes
from bullion.models.adapter import LoraPair
from bullion.models.tensors import TensorFolder

ROWS = 8192  # rows a block
FACTOR_TOLERANCE = 0.01  # of the measured share of the adapter's change


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
    same, due, beyond = True, False, False
    along = expected_along = length = 0.0
    for start in range(0, shape[0] if shape else 1, ROWS):
        rows = slice(start, start + ROWS)
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
        due = due or not torch.equal(exact.to(old.dtype), old)
        same = same and torch.equal(new, old)
        delta = exact - old.float()
        length += float((delta * delta).sum(dtype=torch.float64))
        along += float(((new.float() - old.float()) * delta).sum(dtype=torch.float64))
        rounded = exact.to(old.dtype).float() - old.float()
        expected_along += float((rounded * delta).sum(dtype=torch.float64))
        off = (new.float() - exact).abs() - _tolerance(exact, old.dtype)
        beyond = beyond or not bool((off <= 0).all())
    if not changes:
        return
    if not due:
        (proof.unchanged_by_right if same else proof.touched).append(name)
    elif same:
        proof.skipped.append(name)
    elif beyond or not abs(along - expected_along) <= FACTOR_TOLERANCE * max(length, 1e-30):
        proof.wrong[name] = along / max(length, 1e-30)
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
    total = torch.addmm(weight, b, a, alpha=pair.scale)
    if pair.magnitude is None:
        return total
    size = total.square().sum(dim=1, keepdim=True).sqrt()
    return total * (pair.magnitude[rows].to(weight.device, torch.float32).unsqueeze(1) / size)


def _tolerance(exact: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """One rounding step of `dtype`, and what two orders of summation differ by in fp32."""
    info = torch.finfo(dtype)
    slack = 1e-6 * float(exact.abs().max()) + info.smallest_normal * info.eps
    return exact.abs() * info.eps + slack


def _block(folder: TensorFolder, name: str, rows: slice) -> torch.Tensor:
    if not folder.slots[name].shape:
        return folder.read(name)
    return folder.read_rows(name, rows.start, rows.stop)
