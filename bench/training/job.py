"""The job that is measured: the reference's recipe, random weights in its shape, its true lengths."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from bullion.contract import recipe as r
from bullion.data.supervise import IGNORED, Example
from bullion.models.lora import attach
from transformers import LlamaConfig, LlamaForCausalLM

RECORDS_PER_STEP = 8
LORA = r.LoraSpec(8, 16.0, 0.0, ["all"], [], False, False, None, False)
OPTIMIZER = r.OptimizerSpec("adamw_torch", 1e-4, 0.0, 0.9, 0.999, 1e-8, 1.0, None)

LLAMA_3_8B: dict[str, Any] = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "max_position_embeddings": 8192, "rope_theta": 500000.0, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False, "use_cache": False,
}  # fmt: skip
EMBEDDED: dict[str, Any] = {
    **LLAMA_3_8B, "vocab_size": 6000, "hidden_size": 256, "intermediate_size": 688,
    "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32,
    "tie_word_embeddings": True,
}  # fmt: skip


def spec(dtype: str) -> r.TrainSpec:
    """The reference's recipe, as far as a step looks at it."""
    return r.TrainSpec(
        output_dir="", model=r.BaseModel("random", "", None, False), adapter=None,
        template="llama3",
        data=r.DataSpec([], [], 0.0, 2048, None, False, False, None, False, False, False),
        lora=LORA, quantization=None, optimizer=OPTIMIZER,
        schedule=r.ScheduleSpec("cosine", 0.1, 0, {}),
        length=r.LengthSpec(10.0, -1, 1, RECORDS_PER_STEP, 1, True),
        logging=r.LoggingSpec(10, False, []), saving=r.SavingSpec("no", 500, None, False),
        evaluation=r.EvaluationSpec("no", 500, False, None, False),
        precision=r.PrecisionSpec(dtype, False, "auto"),  # type: ignore[arg-type]
        memory=r.MemorySpec(None, True), seed=42, resume_from=None,
    )  # fmt: skip


def random_llama(
    numbers: dict[str, Any], dtype: torch.dtype, device: torch.device, adapter_noise: float = 0.0
) -> Any:
    """A Llama of random weights with the reference's adapter; noise makes B other than zero."""
    config = LlamaConfig(**numbers, dtype=dtype)
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(dtype)
    model.to_empty(device=device)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        if "norm" in name:
            parameter.data.fill_(1.0)
        else:
            parameter.data.normal_(0.0, 0.02)
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(device)
    model.tie_weights()
    tuned = attach(model.eval(), LORA, seed=42)
    for name, parameter in tuned.named_parameters():
        if adapter_noise and "lora_B" in name:
            parameter.data.normal_(0.0, adapter_noise)
    return tuned


def steps_of_records(file: Path, vocabulary: int, scale: float = 1.0) -> list[list[Example]]:
    """All optimiser steps of one epoch: random tokens, [prompt, answer] lengths from `file`."""
    lengths: list[list[int]] = json.loads(file.read_text())
    draw = random.Random(0)
    draw.shuffle(lengths)
    examples = []
    for index, pair in enumerate(lengths):
        prompt, answer = (max(2, round(n * scale)) for n in pair)
        ids = draw.choices(range(vocabulary), k=prompt + answer)
        examples.append(Example(index, ids, [IGNORED] * prompt + ids[prompt:]))
    return [examples[i : i + RECORDS_PER_STEP] for i in range(0, len(examples), RECORDS_PER_STEP)]


def tokens_of(steps: Sequence[Sequence[Example]]) -> int:
    return sum(len(e) for step in steps for e in step)
