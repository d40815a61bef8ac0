"""What a base folder must be before anything reads it, and what loading guarantees."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.contract.recipe import BaseModel
from bullion.models.fetch import hub_id, local_folder
from bullion.models.llama import LlamaShape
from bullion.models.load import load_base, load_tokenizer
from safetensors.torch import load_file, save_file
from small_models import base_of

CPU = torch.device("cpu")


@pytest.fixture
def copied(small_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_base, tmp_path / "model"))


def refused(base: BaseModel) -> Refusal:
    with pytest.raises(Refusal) as raised:
        load_base(base, torch.float32, CPU)
    return raised.value


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_base_is_loaded_frozen_in_the_dtype_asked_for(
    small_base: Path, dtype: torch.dtype
) -> None:
    loaded = load_base(base_of(small_base), dtype, CPU)
    assert {p.dtype for p in loaded.model.parameters()} == {dtype}
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training and not loaded.model.config.use_cache
    written = load_file(small_base / "model.safetensors")
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, written[name].to(dtype)), name


def test_the_llama_3_vocabulary_stays_128_256_and_pads_with_its_end(
    tinybase: Path,
) -> None:
    tokenizer = load_tokenizer(tinybase)
    assert len(tokenizer) == 128_256
    assert tokenizer.pad_token == tokenizer.eos_token == "<|eot_id|>"
    assert tokenizer.convert_tokens_to_ids("<|eot_id|>") == 128_009


def test_a_tokenizer_that_names_a_token_it_lacks_is_refused(copied: Path) -> None:
    edit_json(copied / "tokenizer_config.json", pad_token="[PAD]")
    with pytest.raises(Refusal, match=r"261 tokens.*262"):
        load_tokenizer(copied)


def test_a_missing_tensor_is_named(copied: Path) -> None:
    file = copied / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    refusal = refused(base_of(copied))
    assert refusal.code == "broken_weights"
    assert "model.layers.1.mlp.up_proj.weight" in refusal.message


def test_a_tensor_that_the_shape_does_not_know_is_named(copied: Path) -> None:
    file = copied / "model.safetensors"
    extra = {"model.layers.2.mlp.up_proj.weight": torch.zeros(96, 64)}
    save_file(load_file(file) | extra, file, metadata={"format": "pt"})
    assert "model.layers.2.mlp.up_proj.weight" in refused(base_of(copied)).message


def test_a_weight_file_that_was_cut_off_is_refused(copied: Path) -> None:
    file = copied / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert refused(base_of(copied)).code == "broken_weights"


@pytest.mark.parametrize(
    "text", ['{"vocab_size": ', "[]", "\xff", "[" * 100_000], ids=["cut", "list", "latin", "deep"]
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_a_settings_file_that_is_no_json_object_is_named(
    copied: Path, name: str, text: str
) -> None:
    (copied / name).write_bytes(text.encode("latin-1"))
    refusal = refused(base_of(copied))
    assert (refusal.code, refusal.param) == ("broken_config", "model")
    assert str(copied / name) in refusal.message


def test_a_setting_that_a_llama_needs_is_named_where_it_is_missing(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    del config["num_hidden_layers"]
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(Refusal, match="num_hidden_layers") as raised:
        LlamaShape.read(copied)
    assert raised.value.code == "broken_config"


def test_pickled_weights_are_refused(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    refusal = refused(base_of(copied))
    assert refusal.code == "unsafe_weights" and "pytorch_model.bin" in refusal.message


def test_a_folder_that_does_not_exist_is_no_model(tmp_path: Path) -> None:
    assert refused(base_of(tmp_path / "nowhere")).code == "model_not_found"
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "holds an adapter and no base" in refused(base_of(tmp_path)).message


def test_a_model_that_transformers_does_not_know_is_refused(copied: Path) -> None:
    edit_json(copied / "config.json", model_type="llamba")
    assert refused(base_of(copied)).code == "unsupported_model"


def test_a_models_own_code_runs_only_where_request_and_operator_agree(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_json(copied / "config.json", auto_map={"AutoModelForCausalLM": "modeling_x.X"})
    asking = replace(base_of(copied), trust_remote_code=True)
    with pytest.raises(Refusal, match="BULLION_ALLOW_REMOTE_CODE=1") as raised:
        local_folder(asking)
    assert raised.value.code == "remote_code_required"
    monkeypatch.setenv("BULLION_ALLOW_REMOTE_CODE", "1")
    assert local_folder(asking) == copied
    with pytest.raises(Refusal):
        local_folder(base_of(copied))


def test_one_model_has_its_name_on_either_hub() -> None:
    there, here = (
        "LLM-Research/Meta-Llama-3-8B-Instruct",
        "meta-llama/Meta-Llama-3-8B-Instruct",
    )
    for name in (here, there):
        assert hub_id(name, "huggingface") == here
        assert hub_id(name, "modelscope") == there
    assert hub_id("Qwen/Qwen3-8B", "modelscope") == "Qwen/Qwen3-8B"


def test_a_hub_that_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **options: Any) -> str:
        raise RuntimeError("no answer") from ConnectionError("refused")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    base = BaseModel("x", "meta-llama/Meta-Llama-3-8B-Instruct", "huggingface", True)
    refusal = refused(base)
    assert refusal.code == "hub_unreachable" and "Hugging Face" in refusal.message


def test_a_hub_gives_safetensors_and_small_files_only(
    small_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def downloads(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(small_base)

    monkeypatch.setattr("huggingface_hub.snapshot_download", downloads)
    base = BaseModel("x", "LLM-Research/Meta-Llama-3-8B-Instruct", "huggingface", True)
    assert local_folder(base) == small_base
    assert asked["name"] == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert "*.safetensors" in asked["allow_patterns"]
    assert not any(p.endswith((".bin", ".pth", "*")) for p in asked["allow_patterns"])


def test_modelscope_that_is_not_installed_is_said_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    refusal = refused(BaseModel("x", "LLM-Research/X", "modelscope", True))
    assert refusal.code == "missing_package"
    assert f"run `{sys.executable} -m pip install modelscope`" in refusal.message
