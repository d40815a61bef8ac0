"""From a base model's folder to weights on a device and a tokenizer.

Asserts what was loaded: nothing missing, nothing left over, the dtype that was asked for. The
weights come back frozen, in evaluation mode and without a key-value cache. It trains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from bullion.contract.errors import Refusal, missing_package
from bullion.contract.recipe import BaseModel, QuantizationSpec
from bullion.models.fetch import allows_remote_code, local_folder
from bullion.models.settings import read_settings


@dataclass(frozen=True)
class LoadedBase:
    """A frozen base on its device. `folder` is where its files lie."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    folder: Path


def load_base(
    base: BaseModel,
    dtype: torch.dtype,
    device: torch.device,
    quantization: QuantizationSpec | None = None,
) -> LoadedBase:
    """Load `base` in `dtype` straight onto `device`, weights from safetensors alone.

    Raises Refusal: what `local_folder` raises, unsupported_model, broken_weights, missing_package.
    """
    folder = local_folder(base)
    disable_progress_bar()
    options: dict[str, Any] = {}
    if quantization is not None:
        options["quantization_config"] = _bitsandbytes(quantization, dtype)
    model: PreTrainedModel
    info: dict[str, Any]
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=dtype,
            device_map={"": device},
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=allows_remote_code(base, folder),
            output_loading_info=True,
            **options,
        )  # type: ignore[misc]
    except SafetensorError as raised:
        raise Refusal(
            "broken_weights",
            f"Cannot load {base.name!r} as a weight file in {folder} is damaged ({raised}): "
            "copy or download it again",
            "model",
        ) from raised
    except (KeyError, ValueError) as raised:
        raise Refusal(
            "unsupported_model",
            f"Cannot load {base.name!r} as transformers does not know this model: {raised}",
            "model",
        ) from raised
    _assert_loaded(model, info, dtype, base.name, quantization is not None)
    model.config.use_cache = False
    model.requires_grad_(False)
    return LoadedBase(model.eval(), load_tokenizer(folder), folder)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of `folder` exactly as its tokenizer.json stands: no token added or dropped.

    `pad` becomes `eos` where there is none. Built from the file itself: a class named after a
    model rebuilds parts of it, and `from_pretrained` doubts its pattern.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise Refusal(
            "tokenizer_not_found",
            f"Cannot read a tokenizer as {folder} holds no tokenizer.json",
            "model",
        )
    settings = folder / "tokenizer_config.json"
    config = read_settings(settings) if settings.is_file() else {}
    written = read_settings(file)
    named = {key: _text(config.get(key)) for key in ("bos_token", "eos_token", "pad_token")}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(file),
        chat_template=_chat_template(folder, config),
        model_max_length=config.get("model_max_length"),
        **{key: token for key, token in named.items() if token},
    )
    words = set(written["model"]["vocab"]) | {t["content"] for t in written["added_tokens"]}
    if len(tokenizer) != len(words):
        raise Refusal(
            "broken_tokenizer",
            f"Cannot use the tokenizer of {folder}: its tokenizer.json has {len(words)} tokens, the "
            f"names in tokenizer_config.json make that {len(tokenizer)}",
            "model",
        )
    if tokenizer.eos_token is None:
        raise Refusal(
            "broken_tokenizer",
            f"Cannot use the tokenizer of {folder} as it names no eos_token in "
            "tokenizer_config.json: answers would never end",
            "model",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    return template if isinstance(template, str) else None


def _text(token: Any) -> str | None:
    """A token as tokenizer_config.json writes it: a string, or an object with its content."""
    return token.get("content") if isinstance(token, dict) else token


def _assert_loaded(
    model: PreTrainedModel, info: dict[str, Any], dtype: torch.dtype, name: str, quantized: bool
) -> None:
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(map(str, info.get(fault) or ()))
        if keys:
            raise Refusal(
                "broken_weights",
                f"Cannot load {name!r} as its weights do not fit its config.json: "
                f"{len(keys)} {fault.replace('_', ' ')}, the first {keys[0]}",
                "model",
            )
    for key, tensor in model.named_parameters():
        if tensor.is_meta:
            raise Refusal("broken_weights", f"Cannot load {name!r}: {key} got no weights", "model")
        if tensor.is_floating_point() and tensor.dtype != dtype and not quantized:
            raise AssertionError(f"{key} was loaded as {tensor.dtype}, not {dtype}")


def _bitsandbytes(spec: QuantizationSpec, dtype: torch.dtype) -> Any:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as raised:
        what = f"quantization_bit {spec.bit}"
        raise missing_package(what, "bitsandbytes", "quantization_bit") from raised
    from transformers import BitsAndBytesConfig

    if spec.bit == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=spec.type,
        bnb_4bit_use_double_quant=spec.double,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=torch.uint8,
    )
