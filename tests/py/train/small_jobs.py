"""Small jobs: a spec with the trainer's defaults, canonical data files, and tiny random bases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bullion.contract.recipe import (
    BaseModel,
    DataSpec,
    EvaluationSpec,
    LengthSpec,
    LoggingSpec,
    LoraSpec,
    MemorySpec,
    OptimizerSpec,
    PrecisionSpec,
    SavingSpec,
    ScheduleSpec,
    TrainSpec,
)
from bullion.contract.worker import Event
from bullion.train.recipe import train


def write_records(path: Path, conversations: Iterable[list[str]]) -> str:
    """Canonical JSONL of conversations that alternate between user and assistant."""
    with path.open("w", encoding="utf-8") as file:
        for index, texts in enumerate(conversations):
            turns = [
                {"role": "assistant" if i % 2 else "user", "content": text}
                for i, text in enumerate(texts)
            ]
            record = {"index": index, "system": None, "tools": None, "turns": turns}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return str(path)


def alpaca_conversations(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            "\n".join(part for part in (row["instruction"], row["input"]) if part),
            row["output"],
        ]
        for row in rows
    ]


def plain_spec(base: Path, output: Path, data: list[str]) -> TrainSpec:
    return TrainSpec(
        output_dir=str(output),
        model=BaseModel("base", str(base), None, False),
        adapter=None,
        template="llama3",
        data=DataSpec(data, [], 0.0, 2048, None, False, False, None, False, False, False),
        lora=LoraSpec(8, 16.0, 0.0, ["all"], [], False, False, None, False),
        quantization=None,
        optimizer=OptimizerSpec("adamw_torch", 1e-4, 0.0, 0.9, 0.999, 1e-8, 1.0, None),
        schedule=ScheduleSpec("cosine", 0.1, 0, {}),
        length=LengthSpec(1.0, -1, 1, 8, 8, True),
        logging=LoggingSpec(1, False, []),
        saving=SavingSpec("no", 500, None, False),
        evaluation=EvaluationSpec("no", 500, False, None, False),
        precision=PrecisionSpec("fp32", False, "auto"),
        memory=MemorySpec(None, False),
        seed=42,
        resume_from=None,
    )


def run(spec: TrainSpec, interruption: Callable[[], Any] = lambda: None) -> list[Event]:
    return list(train(spec, "job", interruption))


def of_type(events: list[Event], kind: str) -> list[Any]:
    return [event for event in events if event.type == kind]


def write_tiny(folder: Path, model_type: str = "llama", **changes: Any) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|im_start|>",
        "<|im_end|>",
    ]
    tokenizer.add_special_tokens(special)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[3]
    ).save_pretrained(folder)
    config = AutoConfig.for_model(
        model_type,
        **{
            "vocab_size": len(alphabet) + len(special),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 512,
            "tie_word_embeddings": False,
            "bos_token_id": len(alphabet),
            "eos_token_id": len(alphabet) + 3,
            "pad_token_id": None,
            **changes,
        },
    )
    torch.manual_seed(7)
    AutoModelForCausalLM.from_config(config).float().save_pretrained(folder)
    return folder
