"""A Llama checkpoint as shape, rotary table and fused tensors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.models.llama import LlamaShape, rotary_frequencies
from bullion.models.llama_weights import SpareRows, load_llama, run_through
from safetensors.torch import load_file, save_file

CPU = torch.device("cpu")
SCALINGS: list[dict[str, Any]] = [
    {"rope_type": "default", "rope_theta": 500000.0},
    {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5},
    {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
]


@pytest.mark.parametrize("rope", SCALINGS)
def test_rotary_frequencies_are_those_of_transformers(rope: dict[str, Any]) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig(
        hidden_size=512, num_attention_heads=4, max_position_embeddings=16384, rope_parameters=rope
    )
    shape = LlamaShape.from_config(
        json.loads(config.to_json_string()) | {"architectures": ["LlamaForCausalLM"]}, "x"
    )
    expected = LlamaRotaryEmbedding(config).inv_freq
    assert torch.allclose(rotary_frequencies(shape), expected, rtol=1e-6, atol=0)


def test_both_spellings_of_rotary_settings_mean_the_same() -> None:
    from transformers import LlamaConfig

    new = json.loads(LlamaConfig(rope_parameters=SCALINGS[2]).to_json_string())
    new["architectures"] = ["LlamaForCausalLM"]
    old = {key: value for key, value in new.items() if key != "rope_parameters"}
    old["rope_theta"] = SCALINGS[2]["rope_theta"]
    old["rope_scaling"] = {k: v for k, v in SCALINGS[2].items() if k != "rope_theta"}
    assert LlamaShape.from_config(old, "x") == LlamaShape.from_config(new, "x")


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": ["Qwen3ForCausalLM"]},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
        {"quantization_config": {"quant_method": "awq"}},
    ],
)
def test_what_is_no_plain_llama_is_refused_by_name(base: Path, change: dict[str, Any]) -> None:
    config = json.loads((base / "config.json").read_text()) | change
    with pytest.raises(Refusal) as refused:
        LlamaShape.from_config(config, "other")
    assert refused.value.code == "unsupported_architecture"


def test_fused_rows_are_the_files_rows_with_room_below(base: Path) -> None:
    shape = LlamaShape.read(base)
    spare = SpareRows(qkv=6, down=2)
    weights = run_through(load_llama(base, shape, CPU, torch.float32, spare))
    file = {name: x.float() for name, x in load_file(base / "model.safetensors").items()}
    layer, at = weights.layers[1], "model.layers.1."
    qkv = torch.cat([file[f"{at}self_attn.{part}_proj.weight"] for part in "qkv"])
    assert layer.qkv.dtype == torch.float32
    assert torch.equal(layer.qkv[:-6], qkv) and not layer.qkv[-6:].any()
    pair = torch.cat([file[f"{at}mlp.{part}_proj.weight"] for part in ("gate", "up")])
    assert torch.equal(layer.gate_up, pair)
    assert layer.down.shape[0] == shape.hidden_size + 2
    assert torch.equal(weights.head, file["lm_head.weight"])
    assert shape.parameters == sum(tensor.numel() for tensor in file.values())


def copied(base: Path, to: Path) -> tuple[Path, Path, dict[str, torch.Tensor]]:
    """A copy of the base, its file of weights and what stands in it."""
    folder = to / "base"
    shutil.copytree(base, folder)
    file = folder / "model.safetensors"
    return folder, file, load_file(file)


def test_matrices_stay_in_the_files_dtype_when_none_is_asked_for(
    base: Path, tmp_path: Path
) -> None:
    folder, file, tensors = copied(base, tmp_path)
    name = "model.layers.1.self_attn.k_proj.weight"
    tensors[name] = tensors[name].float() + 1e-5
    save_file(tensors, file)
    weights = run_through(load_llama(folder, LlamaShape.read(folder), CPU, None))
    first, second = weights.layers[:2]
    assert {first.qkv.dtype, first.down.dtype, weights.embed.dtype} == {torch.bfloat16}
    assert second.qkv.dtype == torch.float32 == first.input_norm.dtype
    assert torch.equal(second.qkv[64:96], tensors[name])


@pytest.mark.parametrize("fault", ["missing", "left over", "wrong shape", "not finite", "damaged"])
def test_weights_that_do_not_fit_their_config_are_refused(
    base: Path, tmp_path: Path, fault: str
) -> None:
    folder, file, tensors = copied(base, tmp_path)
    name = "model.layers.2.mlp.down_proj.weight"
    if fault == "missing":
        del tensors[name]
    elif fault == "left over":
        tensors["model.layers.9.mlp.down_proj.weight"] = torch.zeros(2, 2)
    elif fault == "wrong shape":
        tensors[name] = torch.zeros(3, 3)
    elif fault == "not finite":
        tensors[name][3, 4] = float("nan")
    save_file(tensors, file)
    if fault == "damaged":
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(Refusal) as refused:
        run_through(load_llama(folder, LlamaShape.read(folder), CPU, torch.float32))
    assert refused.value.code == "broken_weights"
