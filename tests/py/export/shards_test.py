"""The sizes of the shards that users of Llama-3-8B know, and the writer of random weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from bullion.export.shards import ordered_shapes, plan_shards, split
from bullion.models.load import load_base
from bullion.models.tensors import TensorFolder
from safetensors.torch import save_file
from small_models import base_of, write_base

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def random_weights() -> ModuleType:
    file = ROOT / "bench/random_weights.py"
    spec = importlib.util.spec_from_file_location("random_weights", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_five_gigabytes_cut_llama_3_8b_into_the_four_known_shards(
    random_weights: ModuleType,
) -> None:
    shapes = random_weights.llama_shapes(random_weights.LLAMA3_8B)
    shards = plan_shards({k: (torch.bfloat16, s) for k, s in shapes.items()}, 5 * 10**9)
    assert [shard.nbytes for shard in shards] == [
        4_976_689_152,
        4_999_790_592,
        4_915_904_512,
        1_168_138_240,
    ]
    assert shards[3].name == "model-00004-of-00004.safetensors"
    assert sum(shard.nbytes for shard in shards) == 2 * 8_030_261_248


def test_a_tensor_above_the_limit_gets_a_shard_of_its_own() -> None:
    sizes = {"a": 4, "b": 20, "c": 5, "d": 2}
    assert split(sizes, 10) == [["b"], ["a", "c"], ["d"]]


def test_the_order_is_the_models_whatever_the_files_say(tmp_path: Path) -> None:
    save_file({n: torch.zeros(2) for n in "abcd"}, tmp_path / "model.safetensors")
    shapes = ordered_shapes(TensorFolder(tmp_path), ["c", "a", "x", "b"], None)
    assert list(shapes) == ["c", "a", "b", "d"]


def test_llama_shapes_are_those_of_transformers(random_weights: ModuleType, tmp_path: Path) -> None:
    base = write_base(tmp_path)
    config = json.loads((base / "config.json").read_text())
    shapes = {name: slot.shape for name, slot in TensorFolder(base).slots.items()}
    assert random_weights.llama_shapes(config) == shapes


def test_random_weights_load_as_any_base(
    random_weights: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    tokens = write_base(tmp_path / "base")  # for its tokenizer
    size = json.loads((tokens / "config.json").read_text())["vocab_size"]
    changed = random_weights.LLAMA3_8B | small | {"vocab_size": size}
    changed["num_key_value_heads"] = 2
    monkeypatch.setattr(random_weights, "LLAMA3_8B", changed)
    monkeypatch.setattr(random_weights, "SHARD_BYTES", 20_000)
    written = [
        random_weights.write(tmp_path / n, tokens, "cpu", torch.bfloat16, 2, 3) for n in "ab"
    ]
    assert len(written[0]["shards"]) > 1
    loaded = load_base(base_of(tmp_path / "a"), torch.bfloat16, torch.device("cpu"))
    state = loaded.model.state_dict()
    assert state["lm_head.weight"].float().std() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(state["model.norm.weight"], torch.ones(32).bfloat16())
    assert loaded.tokenizer.eos_token == "<|eot_id|>"
    again = TensorFolder(tmp_path / "b")
    assert all(torch.equal(again.read(name), tensor) for name, tensor in state.items())
