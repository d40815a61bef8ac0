"""How an adapter starts, which parameters train, and that saving and restoring loses no bit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bullion.contract.errors import Refusal
from bullion.contract.recipe import QuantizationSpec, StartingAdapter
from bullion.models.adapter import (
    adapter_scale,
    load_adapter_tensors,
    merged_weight,
    read_adapter,
)
from bullion.models.load import load_base
from bullion.models.lora import (
    adapter_tensors,
    attach,
    restore_adapter,
    save_adapter,
    trainable_parameters,
)
from safetensors.torch import save_file
from small_models import PLAIN, base_of, write_adapter
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

CPU = torch.device("cpu")
GOLDEN_SHAPE = LlamaConfig(
    vocab_size=64,  # the embedding takes no part in the start
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    tie_word_embeddings=True,
)


def fresh(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    return load_base(base_of(folder), dtype, CPU).model


def outputs(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(20)[None]).logits


def test_the_start_is_llama_factorys_to_the_bit(golden: Path) -> None:
    expected = load_adapter_tensors(golden / "init_adapter")
    started = adapter_tensors(attach(LlamaForCausalLM(GOLDEN_SHAPE), PLAIN, 42))
    assert started.keys() == expected.keys()
    assert all(torch.equal(started[key], expected[key]) for key in expected)


def test_over_a_bf16_base_the_start_is_rounded_to_bf16_and_kept_in_fp32(
    golden: Path,
) -> None:
    expected = load_adapter_tensors(golden / "init_adapter")
    model = LlamaForCausalLM(GOLDEN_SHAPE).to(torch.bfloat16)
    for key, tensor in adapter_tensors(attach(model, PLAIN, 42)).items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[key].bfloat16().float())


def test_the_start_is_drawn_for_a_then_b_then_a_again_layer_by_layer() -> None:
    model = LlamaForCausalLM(GOLDEN_SHAPE)
    started = adapter_tensors(attach(model, PLAIN, 5))
    torch.manual_seed(5)
    for key in (key for key in started if ".lora_A." in key):
        out_features = started[key.replace("lora_A", "lora_B")].shape[0]
        a = torch.empty(started[key].shape)
        for drawn in (a, torch.empty(out_features, 8), a):
            torch.nn.init.kaiming_uniform_(drawn, a=math.sqrt(5))
        assert torch.equal(started[key], a), key
        assert not started[key.replace("lora_A", "lora_B")].any()


def test_llama_3_8b_at_rank_8_trains_20_971_520_parameters() -> None:
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=1,  # of 32, all alike
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    trained = trainable_parameters(attach(model, PLAIN, 42))
    assert sum(p.numel() for p in trained.values()) * 32 == 20_971_520
    assert not any("lm_head" in name for name in trained)


def test_only_the_named_layers_train(small_base: Path) -> None:
    tuned = attach(fresh(small_base), replace(PLAIN, target=["q_proj", "v_proj"]), 1)
    assert {name.split(".")[-4] for name in trainable_parameters(tuned)} == {
        "q_proj",
        "v_proj",
    }


def test_a_target_that_the_base_lacks_is_refused_with_those_it_has(
    small_base: Path,
) -> None:
    with pytest.raises(Refusal, match=r"W_pack.*q_proj") as raised:
        attach(fresh(small_base), replace(PLAIN, target=["W_pack"]), 1)
    assert (raised.value.code, raised.value.param) == ("unknown_target", "lora_target")


def test_what_trains_is_fp32_over_a_bf16_base(small_base: Path) -> None:
    lora = replace(PLAIN, additional_target=["norm"], use_dora=True)
    tuned = attach(fresh(small_base, torch.bfloat16), lora, 1)
    trained = trainable_parameters(tuned)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert any("modules_to_save" in name for name in trained)
    assert any("magnitude" in name for name in trained)


def test_training_in_full_what_a_tied_base_uses_twice_is_refused(
    tmp_path: Path,
) -> None:
    model = LlamaForCausalLM(GOLDEN_SHAPE)
    with pytest.raises(Refusal, match="tied"):
        attach(model, replace(PLAIN, additional_target=["embed_tokens"]), 1)


def test_a_saved_adapter_is_restored_bit_by_bit(small_base: Path, tmp_path: Path) -> None:
    lora = replace(PLAIN, use_dora=True, additional_target=["lm_head"])
    tuned = attach(fresh(small_base), lora, 1)
    with torch.no_grad():
        for parameter in trainable_parameters(tuned).values():
            parameter += 0.1 * torch.randn_like(parameter)
    kept = {key: tensor.clone() for key, tensor in adapter_tensors(tuned).items()}
    save_adapter(tuned, tmp_path, "meta-llama/Meta-Llama-3-8B-Instruct")
    other = attach(fresh(small_base), lora, 2)
    restore_adapter(other, tmp_path)
    assert all(torch.equal(t, kept[key]) for key, t in adapter_tensors(other).items())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "meta-llama/Meta-Llama-3-8B-Instruct"


def test_whoever_may_read_the_folder_may_read_the_adapter(small_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir(mode=0o755)
    save_adapter(attach(fresh(small_base), PLAIN, 1), folder, "a-base")
    readable = folder.stat().st_mode & 0o666
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {readable}


def test_an_adapter_is_trained_on_where_it_stopped(small_base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", small_base)
    tuned = attach(
        fresh(small_base), replace(PLAIN, rank=4), 3, StartingAdapter(str(folder), False)
    )
    saved = load_adapter_tensors(folder)
    assert all(torch.equal(t, saved[key]) for key, t in adapter_tensors(tuned).items())


def test_create_new_merges_the_old_adapter_and_starts_another(
    small_base: Path, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "a", small_base)
    before = outputs(fresh(small_base))
    old = attach(fresh(small_base), PLAIN, 3, StartingAdapter(str(folder), False))
    new = attach(fresh(small_base), PLAIN, 3, StartingAdapter(str(folder), True))
    assert not any(t.any() for k, t in adapter_tensors(new).items() if "lora_B" in k)
    torch.testing.assert_close(outputs(new), outputs(old), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(outputs(new), before, atol=1e-2)


def test_pissa_starts_at_the_base_and_is_saved_as_plain_lora_over_it(
    small_base: Path, tmp_path: Path
) -> None:
    lora = replace(PLAIN, pissa_init=True)
    tuned = attach(fresh(small_base), lora, 1)
    torch.testing.assert_close(outputs(tuned), outputs(fresh(small_base)), atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        for parameter in trainable_parameters(tuned).values():
            parameter += 0.02 * torch.randn_like(parameter)
    save_adapter(tuned, tmp_path, "a-base")
    plain = attach(fresh(small_base), PLAIN, 1, StartingAdapter(str(tmp_path), False))
    torch.testing.assert_close(outputs(plain), outputs(tuned), atol=1e-4, rtol=1e-4)
    again = attach(fresh(small_base), lora, 1)
    restore_adapter(again, tmp_path)
    assert torch.equal(outputs(again), outputs(tuned))


def test_rslora_scales_by_the_root_of_the_rank(small_base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", small_base, replace(PLAIN, use_rslora=True, rank=4))
    adapter = read_adapter(folder)
    assert {pair.scale for pair in adapter.pairs.values()} == {16 / 2}
    assert adapter_scale({"r": 4, "lora_alpha": 16}) == 4


def test_merged_dora_answers_as_the_unmerged_one(small_base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", small_base, replace(PLAIN, use_dora=True))
    tuned = attach(fresh(small_base), PLAIN, 1, StartingAdapter(str(folder), False))
    merged = fresh(small_base)
    with torch.no_grad():
        for name, pair in read_adapter(folder).pairs.items():
            weight = merged.get_submodule(name).weight
            weight.copy_(merged_weight(weight, pair))
    torch.testing.assert_close(outputs(merged), outputs(tuned), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"lora_bias": True}, "lora_bias"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
    ],
)
def test_an_adapter_of_another_kind_is_refused_by_what_it_has(
    small_base: Path, tmp_path: Path, change: dict, named: str
) -> None:
    folder = write_adapter(tmp_path / "a", small_base)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(Refusal, match=named) as raised:
        read_adapter(folder)
    assert raised.value.code == "unsupported_adapter"


def test_an_adapter_that_diverged_is_refused(small_base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", small_base)
    tensors = load_adapter_tensors(folder)
    next(iter(tensors.values()))[0, 0] = math.nan
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(Refusal, match="not finite"):
        read_adapter(folder)


@pytest.mark.parametrize("create_new", [False, True])
def test_an_adapter_of_another_base_is_refused_with_the_layer(
    small_base: Path, tmp_path: Path, create_new: bool
) -> None:
    folder = write_adapter(tmp_path / "a", small_base)
    other = LlamaForCausalLM(GOLDEN_SHAPE)
    with pytest.raises(Refusal, match=r"layers\.0\.mlp\.down_proj") as raised:
        attach(other, PLAIN, 1, StartingAdapter(str(folder), create_new))
    assert raised.value.code == "adapter_mismatch"


@pytest.mark.parametrize(
    "spec", [QuantizationSpec(4, "nf4", True), QuantizationSpec(8, "nf4", False)]
)
def test_an_adapter_starts_over_a_quantised_base_and_is_never_merged_into_it(
    small_base: Path, tmp_path: Path, spec: QuantizationSpec
) -> None:
    pytest.importorskip("bitsandbytes")
    base = load_base(base_of(small_base), torch.float32, CPU, spec)
    folder = write_adapter(tmp_path / "a", small_base)
    with pytest.raises(Refusal) as raised:
        attach(base.model, PLAIN, 1, StartingAdapter(str(folder), True))
    assert raised.value.code == "quantized_base"
    tuned = attach(base.model, PLAIN, 1)
    assert len(trainable_parameters(tuned)) == 2 * 7 * 2
    tuned(torch.arange(20)[None]).logits.square().mean().backward()
    assert all(p.grad is not None for p in trainable_parameters(tuned).values())
