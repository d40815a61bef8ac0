"""What an export writes: the right bits, in files that open anywhere, and its word about itself."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.recipe import ExportSpec, StartingAdapter
from bullion.export import feed, pour, recipe, shards, weigh
from bullion.export.crew import Crew, crew_size
from bullion.export.feed import Feed, Want
from bullion.export.recipe import export
from bullion.models import tensors
from bullion.models.adapter import load_adapter_tensors
from bullion.models.load import load_base
from bullion.models.lora import attach
from bullion.models.tensors import TensorFolder
from peft import PeftModel
from small_models import PLAIN, base_of, write_adapter, write_base
from transformers import AutoModelForCausalLM, AutoTokenizer

Build = Callable[..., ExportSpec]
CPU = torch.device("cpu")


def run(spec: ExportSpec) -> dict:
    *_, last = export(spec, "job-1", lambda: None)
    assert last.type == "finished"
    return last.result


def tensors_of(folder: Path | str) -> dict[str, torch.Tensor]:
    files = TensorFolder(Path(folder))
    return {name: files.read(name) for name in files.slots}


def answers(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(40)[None]).logits.float()


@pytest.mark.parametrize("which", ["small_base", "bf16_base"])
def test_every_tensor_is_the_formulas_to_the_bit(
    which: str, adapter: Path, spec_of: Build, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(which)
    result = run(spec_of(base, adapter))
    change = load_adapter_tensors(adapter)
    merged, old = tensors_of(result["path"]), tensors_of(base)
    assert merged.keys() == old.keys()
    for name, weight in old.items():
        key = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{key}.lora_A.weight" in change:
            b, a = change[f"{key}.lora_B.weight"], change[f"{key}.lora_A.weight"]
            weight = (weight.float() + 16 / 8 * (b @ a)).to(weight.dtype)
        assert torch.equal(merged[name], weight), name
    assert result["tensors_changed"] == 14 and result["top1_agreement"] > 0.9


@pytest.mark.parametrize("which", ["small_base", "bf16_base"])
def test_every_tensor_is_the_one_that_peft_merges(
    which: str, adapter: Path, spec_of: Build, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(which)
    merged = tensors_of(run(spec_of(base, adapter))["path"])
    dtype = next(iter(merged.values())).dtype
    loaded = load_base(base_of(base), dtype, CPU).model
    theirs = PeftModel.from_pretrained(loaded, str(adapter)).merge_and_unload()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(merged[name], tensor), name


@pytest.mark.parametrize(
    "lora",
    [
        replace(PLAIN, use_rslora=True, rank=4),
        replace(PLAIN, use_dora=True),
        replace(PLAIN, additional_target=["embed_tokens", "lm_head", "norm"]),
        replace(PLAIN, target=["q_proj", "lm_head"]),
        replace(PLAIN, pissa_init=True),
    ],
    ids=["rslora", "dora", "trained_in_full", "head", "pissa"],
)
def test_the_merged_model_answers_as_base_and_adapter(
    lora, small_base: Path, tmp_path: Path, spec_of: Build
) -> None:
    folder = write_adapter(tmp_path / "adapter", small_base, lora)
    result = run(spec_of(small_base, folder))
    base = load_base(base_of(small_base), torch.float32, CPU).model
    expected = answers(base)
    tuned = attach(base, PLAIN, 1, StartingAdapter(str(folder), False))
    assert not torch.allclose(answers(tuned), expected, atol=0.05)
    merged = AutoModelForCausalLM.from_pretrained(result["path"], dtype=torch.float32)
    torch.testing.assert_close(answers(merged), answers(tuned), atol=1e-4, rtol=1e-4)
    assert result["max_logit_difference"] < 1e-4 and result["top1_agreement"] == 1


def test_adapters_are_merged_one_after_the_other(
    bf16_base: Path, tmp_path: Path, spec_of: Build
) -> None:
    first = write_adapter(tmp_path / "a", bf16_base)
    second = write_adapter(tmp_path / "b", bf16_base, replace(PLAIN, use_dora=True), 2)
    both = tensors_of(run(spec_of(bf16_base, first, second))["path"])
    one = spec_of(bf16_base, first, export_dir=str(tmp_path / "one"))
    path = Path(run(one)["path"])
    two = spec_of(path, second, export_dir=str(tmp_path / "two"))
    after = tensors_of(run(two)["path"])
    assert all(torch.equal(both[name], after[name]) for name in after)


def test_a_tied_base_stays_tied(tmp_path: Path, spec_of: Build) -> None:
    base = write_base(tmp_path / "base", tied=True)
    result = run(spec_of(base, write_adapter(tmp_path / "adapter", base)))
    assert "lm_head.weight" not in tensors_of(result["path"])
    merged = AutoModelForCausalLM.from_pretrained(result["path"])
    assert merged.lm_head.weight is merged.model.embed_tokens.weight


def test_shards_open_in_plain_transformers_in_the_dtype_asked_for(
    small_base: Path, adapter: Path, spec_of: Build
) -> None:
    result = run(spec_of(small_base, adapter, shard_bytes=100_000, dtype="bf16"))
    folder = Path(result["path"])
    assert result["shards"] == len(list(folder.glob("model-*.safetensors"))) > 1
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.dtype == torch.bfloat16
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == result["bytes"]


def test_answers_end_at_the_turns_end(small_base: Path, adapter: Path, spec_of: Build) -> None:
    folder = run(spec_of(small_base, adapter))["path"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    turn_end = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert turn_end in model.generation_config.eos_token_id
    assert tokenizer.eos_token == "<|eot_id|>"
    asked = [{"role": "user", "content": " 营收？ "}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n 营收？ <|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_the_folder_says_what_it_is_made_of(
    small_base: Path, adapter: Path, spec_of: Build
) -> None:
    folder = Path(run(spec_of(small_base, adapter))["path"])
    told = json.loads((folder / "bullion.json").read_text())
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    assert told["base"]["name"] == "a-base"
    assert told["adapters"][0]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert told["figures"]["tensors_changed"] == 14
    for name, digest in told["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "base_model: a-base" in (folder / "README.md").read_text()


def test_a_base_without_adapters_is_exported_as_it_is(small_base: Path, spec_of: Build) -> None:
    result = run(spec_of(small_base))
    merged = tensors_of(result["path"])
    assert all(torch.equal(merged[name], t) for name, t in tensors_of(small_base).items())
    assert result["tensors_changed"] == 0 and result["max_logit_difference"] == 0


def test_without_probes_it_says_that_only_weights_were_verified(
    small_base: Path, adapter: Path, spec_of: Build
) -> None:
    events = list(export(spec_of(small_base, adapter, probes=[]), "job", lambda: None))
    assert any(event.type == "message" and event.code == "no_probes" for event in events)
    assert events[-1].result["max_logit_difference"] is None


def test_a_merge_by_blocks_of_rows_has_the_bits_of_one_by_tensors(
    bf16_base: Path, tmp_path: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_adapter(tmp_path / "a", bf16_base)
    second = write_adapter(tmp_path / "b", bf16_base, replace(PLAIN, use_dora=True), 2)
    whole = tensors_of(run(spec_of(bf16_base, first, second))["path"])
    monkeypatch.setattr(pour, "PIECE", 900)
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)
    monkeypatch.setattr(pour, "BLOCK", {"cpu": 300})
    two = {"export_dir": str(tmp_path / "two"), "shard_bytes": 50_000}
    blocks = tensors_of(run(spec_of(bf16_base, first, second, **two))["path"])
    assert all(torch.equal(blocks[name], whole[name]) for name in whole)


@pytest.mark.parametrize("rank", [1, 8, 64, 256])
def test_products_by_blocks_of_rows_have_the_bits_of_the_whole(rank: int) -> None:
    b, a = torch.randn(703, rank), torch.randn(rank, 2048)
    runs = shards.slices((703, 2048), 2**17)
    assert len(runs) == 11
    assert torch.equal(torch.cat([b[rows] @ a for rows in runs]), b @ a)


def test_it_says_where_it_was_computed(small_base: Path, adapter: Path, spec_of: Build) -> None:
    result = run(spec_of(small_base, adapter))
    assert result["merged_on"] == "cpu"
    assert result["compared_on"] == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_gpu_that_fills_up_meanwhile_is_left_for_the_cpu(
    small_base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Feed.read

    def full(self: Feed, want: Want) -> torch.Tensor:
        if self.device.type == "meta":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read(self, want)

    monkeypatch.setattr(recipe, "free_device", lambda: torch.device("meta"))
    monkeypatch.setattr(Feed, "read", full)
    events = list(export(spec_of(small_base, adapter), "job", lambda: None))
    assert any(event.type == "message" and event.code == "gpu_full" for event in events)
    assert events[-1].result["compared_on"] == "cpu" and events[-1].result["positions"] > 0


@pytest.mark.parametrize("stage", [100, 1000, 10**6])
def test_what_passes_through_the_stage_is_what_was_read(
    stage: int, bf16_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "STAGE", stage)
    folder = TensorFolder(bf16_base)
    with Crew(2) as crew:
        through = Feed(CPU, crew)
        for name in folder.slots:
            whole = folder.read(name)
            target = torch.empty_like(whole)
            assert torch.equal(through.through_stage(target, Want(folder, name), 0), whole)
            some = through.through_stage(target[1:], Want(folder, name), 1)
            assert torch.equal(some, whole[1:])


def test_no_more_than_a_few_blocks_and_two_layers_are_ever_in_memory(
    small_base: Path, adapter: Path, spec_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: dict[int, int] = {}
    most: dict[str, int] = {}
    phase = "prepare"
    read = tensors._read
    counting = threading.Lock()

    def counted(*given: Any) -> torch.Tensor:
        tensor = read(*given)
        storage = tensor.untyped_storage()
        with counting:
            alive[id(storage)] = tensor.nbytes
            most[phase] = max(most.get(phase, 0), sum(alive.values()))
        weakref.finalize(storage, alive.pop, id(storage), None)
        return tensor

    monkeypatch.setattr(tensors, "_read", counted)
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)
    monkeypatch.setattr(pour, "BLOCK", {"cpu": 500})
    monkeypatch.setattr(weigh, "BLOCK", 500)
    for event in export(spec_of(small_base, adapter), "job-1", lambda: None):
        if event.type == "message" and event.code == "phase":
            phase = event.data["phase"]
    slots = TensorFolder(small_base).slots
    layer = sum(slot.nbytes for name, slot in slots.items() if ".layers.0." in name)
    threads = crew_size(os.cpu_count() or 2)
    block = 8 * max(math.prod(slot.shape[1:]) for slot in slots.values()) * 4
    assert 0 < most["merge"] <= 2 * threads * block  # the last one goes when the next one is there
    assert 0 < most["verify_weights"] <= 4 * threads * block
    assert 0 < most["verify_logits"] <= 2 * 2 * layer  # base and merged, this layer and the next
