"""Models to measure with: random adapters, and random weights drawn on the device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def write_adapter(folder: Path, config: dict[str, Any], seed: int, device: torch.device) -> Path:
    """A rank-8 adapter on every linear layer, random."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    hidden, mlp = config["hidden_size"], config["intermediate_size"]
    size = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    shapes = {
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (mlp, hidden),
        "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
    }
    source = torch.Generator(device=device).manual_seed(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, (out, inside) in shapes.items():
            key = f"base_model.model.model.layers.{layer}.{name}"
            for part, shape in (("lora_A", (8, inside)), ("lora_B", (out, 8))):
                drawn = torch.randn(shape, generator=source, device=device) * 0.01
                tensors[f"{key}.{part}.weight"] = drawn.cpu()
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    written = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
    (folder / "adapter_config.json").write_text(json.dumps(written))
    return folder


def draw_weights_on_the_device() -> None:
    """Puts random weights where the engine would read files."""
    from bullion.engine import engine as module
    from bullion.models.llama import LlamaLayer, LlamaWeights

    def drawn(folder: Path, shape: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
        dtype = dtype or shape.dtype

        def matrix(out: int, inside: int) -> torch.Tensor:
            return torch.empty(out, inside, device=device, dtype=dtype).normal_(0, 0.02)

        def norm() -> torch.Tensor:
            return torch.ones(shape.hidden_size, device=device, dtype=dtype)

        h, i = shape.hidden_size, shape.intermediate_size
        layers = []
        for _ in range(shape.layers):
            qkv = matrix(shape.q_size + 2 * shape.kv_size, h)
            o, gate_up, down = matrix(h, shape.q_size), matrix(2 * i, h), matrix(h, i)
            layers.append(LlamaLayer(norm(), qkv, None, o, None, norm(), gate_up, None, down, None))
            yield
        head = matrix(shape.vocab_size, h)
        return LlamaWeights(shape, matrix(shape.vocab_size, h), layers, norm(), head)

    module.load_llama = drawn  # type: ignore[assignment]
