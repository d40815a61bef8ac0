"""What the Llama step refuses it names, so that the general step can say why it runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bullion.train.llama import obstacle

from .conftest import CPU, spec, tuned

BIASED = {"attention_bias": True}
DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}


@pytest.mark.parametrize(
    ("model", "job", "reason"),
    [
        ({}, {"use_dora": True}, "DoRA"),
        ({}, {"neftune": 5.0}, "NEFTune"),
        ({}, {"quantization": object()}, "quantised"),
        ({"lora": {"use_dora": True}}, {}, "trained as well"),
        ({"lora": {"modules_to_save": ["lm_head"]}}, {}, "lm_head"),
        ({"lora": {"lora_bias": True}}, {}, "trained as well"),
        ({"lora": {"layers_to_transform": [0]}}, {}, "different ways"),
        (BIASED, {}, "bias"),
        (DYNAMIC, {}, "rotary scaling 'dynamic'"),
        ({"hidden_act": "gelu"}, {}, "gelu"),
        ({"attention_dropout": 0.1}, {}, "drops attention"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_the_reason_is_named(model: dict[str, Any], job: dict[str, Any], reason: str) -> None:
    found = obstacle(tuned(**model), spec(**job), CPU)
    assert found is not None and reason in found


def test_another_family_is_named() -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    small = Qwen2Config(vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                        num_attention_heads=2, num_key_value_heads=1)  # fmt: skip
    assert "qwen2" in str(obstacle(Qwen2ForCausalLM(small), spec(), CPU))


def test_a_second_active_adapter_is_an_obstacle() -> None:
    model = tuned()
    model.add_adapter("second", model.peft_config["default"])
    model.base_model.set_adapter(["default", "second"])
    assert "adapter" in str(obstacle(model, spec(), CPU))


def test_half_precision_on_the_processor_is_left_to_the_general_step() -> None:
    model = tuned()
    model.base_model.model.to(torch.bfloat16)
    assert "bfloat16" in str(obstacle(model, spec(), CPU))
