"""Small Llama-shaped bases with a byte-level tokenizer, and adapters with something in them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from bullion.contract.recipe import BaseModel, LoraSpec
from bullion.models.load import load_base
from bullion.models.lora import attach, save_adapter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

CONTROLS = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]
PLAIN = LoraSpec(8, 16.0, 0.0, ["all"], [], False, False, None, False)


def write_tokenizer(folder: Path) -> int:
    """A token a byte and the llama3 control tokens; returns the size of the vocabulary."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(CONTROLS)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": CONTROLS[0], "eos_token": CONTROLS[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return tokenizer.get_vocab_size()


def write_base(folder: Path, dtype: torch.dtype = torch.float32, tied: bool = False) -> Path:
    """A base of two layers with random weights; about 0.1 M parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    config = LlamaConfig(
        vocab_size=write_tokenizer(folder),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
        initializer_range=0.05,
        bos_token_id=256,
        eos_token_id=257,
    )
    torch.manual_seed(7)
    model = LlamaForCausalLM(config).to(dtype)
    for name, parameter in model.named_parameters():
        if "norm" in name:  # not all ones, so that a lost norm would show
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return folder


def base_of(folder: Path) -> BaseModel:
    return BaseModel("a-base", str(folder), None, False)


def write_adapter(
    folder: Path, base: Path, lora: LoraSpec = PLAIN, seed: int = 1, size: float = 0.05
) -> Path:
    """An adapter over `base` as if trained: every trainable tensor moved by `size` · N(0, 1)."""
    loaded = load_base(base_of(base), torch.float32, torch.device("cpu"))
    tuned = attach(loaded.model, lora, seed)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter += size * torch.randn_like(parameter)
    save_adapter(tuned, folder, "a-base")
    return folder
