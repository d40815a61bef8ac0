"""The small files of a merged model: configuration, generation, tokenizer, licence, description.

Decides what is copied and what is changed, above all that answers end. It touches no weights.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from bullion.data.template import stop_ids

COPIED = (
    "tokenizer.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "LICENSE*",
    "NOTICE*",
    "USE_POLICY*",
)
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
TURN_END = "<|eot_id|>"
LLAMA3_CHAT = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)


def write_small_files(
    source: Path,
    target: Path,
    tokenizer: PreTrainedTokenizerFast,
    template: str,
    dtype: torch.dtype | None,
) -> None:
    """Everything but weights and description; `dtype` is the cast of the export, None for none."""
    for pattern in COPIED:
        for file in sorted(source.glob(pattern)):
            if file.is_file():
                shutil.copyfile(file, target / file.name)
    config = _read(source / "config.json")
    if dtype is not None:
        config["dtype" if "dtype" in config else "torch_dtype"] = NAMES[dtype]
    _write(target / "config.json", config)
    _write(target / "generation_config.json", _generation(source, tokenizer))
    _write(target / "tokenizer_config.json", _tokenizer(source, tokenizer, template))


def _generation(source: Path, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The base's own settings; answers end at each of its ends and at each that chat knows."""
    settings = _read(source / "generation_config.json")
    ends = settings.get("eos_token_id", [])
    ends = ends if isinstance(ends, list) else [ends]
    ends = sorted({i for i in [*ends, *stop_ids(tokenizer)] if i is not None})
    settings["eos_token_id"] = ends
    if tokenizer.bos_token_id is not None:
        settings.setdefault("bos_token_id", tokenizer.bos_token_id)
    return settings


def _tokenizer(source: Path, tokenizer: PreTrainedTokenizerFast, template: str) -> dict[str, Any]:
    settings = _read(source / "tokenizer_config.json")
    if template == "llama3" and TURN_END in tokenizer.get_vocab():
        settings["eos_token"] = TURN_END
        if not tokenizer.chat_template:
            settings["chat_template"] = LLAMA3_CHAT
    return settings


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _write(file: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    file.write_text(text + "\n", encoding="utf-8")
