"""Wrong merges, planted one by one: each is found, named, and never published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.contract.recipe import ExportSpec
from bullion.export import pour, shards, weigh
from bullion.export.changes import apply_changes, read_changes
from bullion.export.compare import LogitComparison, compare
from bullion.export.crew import Crew
from bullion.export.feed import Feed
from bullion.export.recipe import export
from bullion.export.streamed import StreamedModels, View, skeleton
from bullion.models.adapter import LoraPair
from bullion.models.load import load_base
from bullion.models.tensors import TensorFileWriter, TensorFolder
from small_models import base_of, write_adapter

Build = Callable[..., ExportSpec]
CPU = torch.device("cpu")
PROMPTS = [list(range(30)), list(range(50, 60))]


def plant(monkeypatch: pytest.MonkeyPatch, fault: Callable) -> None:
    """Let `fault(name, weight, changes)` merge in the place of the true function."""
    monkeypatch.setattr(
        pour,
        "merged_rows",
        lambda name, weight, changes, device: fault(name, weight, changes),
    )


def refusal_of(spec: ExportSpec) -> Refusal:
    with pytest.raises(Refusal) as raised:
        list(export(spec, "job-1", lambda: None))
    target = Path(spec.export_dir)
    assert list(target.parent.glob(f"*{target.name}*")) == []
    return raised.value


def doubled(change: LoraPair) -> LoraPair:
    return replace(change, scale=2 * change.scale)


@pytest.fixture(params=["small_base", "bf16_base"])
def base(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def test_a_skipped_layer_is_named(
    base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped = "model.layers.1.self_attn.o_proj.weight"

    def fault(name: str, weight: torch.Tensor, changes: list) -> torch.Tensor:
        return weight if name == skipped else apply_changes(weight, changes)

    plant(monkeypatch, fault)
    refusal = refusal_of(spec_of(base, adapter))
    assert refusal.code == "merge_layer_skipped"
    assert "1 adapted tensors" in refusal.message and skipped in refusal.message


def test_rows_that_were_skipped_in_a_layer_are_found(
    base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(name: str, weight: torch.Tensor, changes: list) -> torch.Tensor:
        merged = apply_changes(weight, changes).clone()
        if name == "model.layers.0.mlp.up_proj.weight":
            merged[3:9] = weight[3:9]
        return merged

    plant(monkeypatch, fault)
    refusal = refusal_of(spec_of(base, adapter))
    assert refusal.code == "merge_delta_wrong" and "layers.0.mlp.up_proj" in refusal.message


def test_a_doubled_scale_is_named_with_its_factor(
    base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(
        monkeypatch,
        lambda _, w, changes: apply_changes(w, [doubled(c) for c in changes]),
    )
    refusal = refusal_of(spec_of(base, adapter))
    assert refusal.code == "merge_delta_wrong"
    factor = float(refusal.message.split(" times")[0].rpartition(" ")[2])
    assert factor == pytest.approx(2, abs=0.05)


def test_a_change_too_small_for_most_weights_is_still_weighed(
    bf16_base: Path, tmp_path: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    faint = write_adapter(tmp_path / "faint", bf16_base, size=1e-5)
    plant(
        monkeypatch,
        lambda _, w, changes: apply_changes(w, [doubled(c) for c in changes]),
    )
    assert refusal_of(spec_of(bf16_base, faint)).code == "merge_delta_wrong"


def test_an_untouched_base_is_named(
    base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, lambda _, weight, changes: weight)
    refusal = refusal_of(spec_of(base, adapter))
    assert refusal.code == "merge_changed_nothing"
    assert "14 adapted tensors" in refusal.message


def test_a_tensor_that_no_adapter_changes_must_not_change(
    base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(name: str, weight: torch.Tensor, changes: list) -> torch.Tensor:
        merged = apply_changes(weight, changes).clone()
        if not changes and merged.dim() == 1:
            merged[3] *= 1.01
        return merged

    plant(monkeypatch, fault)
    refusal = refusal_of(spec_of(base, adapter))
    assert refusal.code == "merge_changed_too_much" and "norm" in refusal.message


def test_one_wrong_weight_among_all_is_found(
    base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(name: str, weight: torch.Tensor, changes: list) -> torch.Tensor:
        merged = apply_changes(weight, changes).clone()
        if name == "model.layers.0.mlp.down_proj.weight":
            merged[7, 11] += 0.25 * merged.abs().max()
        return merged

    plant(monkeypatch, fault)
    assert refusal_of(spec_of(base, adapter)).code == "merge_delta_wrong"


@pytest.mark.parametrize(
    "which", ["model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"]
)
def test_bytes_that_did_not_reach_the_file_are_found(
    which: str,
    base: Path,
    adapter: Path,
    spec_of: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = TensorFileWriter.write_rows

    def torn(self: TensorFileWriter, name: str, start: int, rows: torch.Tensor) -> None:
        rows = rows.clone()
        if name == which:
            rows[-5:] = 0
        write(self, name, start, rows)

    monkeypatch.setattr(TensorFileWriter, "write_rows", torn)
    refusal = refusal_of(spec_of(base, adapter))
    expected = "merge_changed_too_much" if "embed" in which else "merge_delta_wrong"
    assert refusal.code == expected and which in refusal.message


def test_two_tensors_in_each_others_place_are_found(
    base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = TensorFileWriter.write_rows
    pair = ["model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight"]

    def swapped(self: TensorFileWriter, name: str, start: int, rows: torch.Tensor) -> None:
        write(self, pair[1 - pair.index(name)] if name in pair else name, start, rows)

    monkeypatch.setattr(TensorFileWriter, "write_rows", swapped)
    refusal = refusal_of(spec_of(base, adapter))
    assert refusal.code == "merge_delta_wrong" and "2 tensors" in refusal.message


def test_a_fault_in_any_block_of_a_large_tensor_is_found(
    base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((pour, "PIECE"), (weigh, "PIECE"), (weigh, "BLOCK")):
        monkeypatch.setattr(module, name, 700)
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)
    monkeypatch.setattr(pour, "BLOCK", {"cpu": 300})
    blocks = count(1)  # counted by several threads at once
    planted: list[str] = []

    def fault(name: str, weight: torch.Tensor, changes: list) -> torch.Tensor:
        merged = apply_changes(weight, changes)
        if not changes or next(blocks) != 40:
            return merged
        planted.append(name)
        return merged * 1.5

    plant(monkeypatch, fault)
    refusal = refusal_of(spec_of(base, adapter))
    assert refusal.code == "merge_delta_wrong" and planted[0] in refusal.message
    assert next(blocks) > 101


def test_an_adapter_that_was_never_trained_is_said(
    small_base: Path, tmp_path: Path, spec_of: Build
) -> None:
    untrained = write_adapter(tmp_path / "untrained", small_base, size=0.0)
    refusal = refusal_of(spec_of(small_base, untrained))
    assert refusal.code == "merge_changed_nothing" and "trained" in refusal.message


@pytest.mark.parametrize("fault", ["none", "doubled", "untouched"])
def test_answers_alone_tell_a_wrong_merge_from_a_right_one(
    fault: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    old = TensorFolder(base)
    changes = read_changes([adapter], old, tied=False)
    planted = {
        name: [doubled(c) for c in list_] if fault == "doubled" else list_
        for name, list_ in changes.items()
        if fault != "untouched"
    }
    shapes = {name: (slot.dtype, slot.shape) for name, slot in old.slots.items()}
    with TensorFileWriter(tmp_path / "model.safetensors", shapes) as writer:
        for name in shapes:
            writer.write(name, apply_changes(old.read(name), planted.get(name, [])))
    found = LogitComparison()
    views = {
        "base": View(old, {}),
        "tuned": View(old, changes),
        "merged": View(TensorFolder(tmp_path), {}),
    }
    with Crew(2) as crew:
        models = StreamedModels(skeleton(base), views, Feed(CPU, crew))
        list(compare(models, PROMPTS, found))
    assert found.positions == 40
    dtype = next(iter(shapes.values()))[0]
    if fault == "none":
        found.judge(dtype, models.layers)
        return
    with pytest.raises(Refusal) as raised:
        found.judge(dtype, models.layers)
    assert raised.value.code == "merge_logits_differ"


def test_the_streamed_forward_is_the_models_own(small_base: Path) -> None:
    loaded = load_base(base_of(small_base), torch.float32, CPU).model
    view = View(TensorFolder(small_base), {})
    with Crew(2) as crew:
        streamed = StreamedModels(skeleton(small_base), {"base": view}, Feed(CPU, crew))
        *_, states = streamed.states(PROMPTS)
        ours = torch.cat([piece["base"] for piece in streamed.logits(states)], dim=1)
    with torch.no_grad():
        whole = torch.cat([loaded(torch.tensor([ids])).logits[0] for ids in PROMPTS])
    torch.testing.assert_close(ours, whole, atol=1e-5, rtol=1e-5)
