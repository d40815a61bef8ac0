"""LoRA by PEFT: attaching an adapter to a loaded base, saving it, restoring it.

The one file that names PEFT. Owns the adapter's start, which is LLaMA-Factory's to the bit: after
`manual_seed(seed)`, layer by layer in the model's order, kaiming-uniform draws for A, for B (thrown
away) and for A again; B = 0. It knows no optimiser and no step.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from bullion.contract.errors import Refusal
from bullion.contract.recipe import LoraSpec, StartingAdapter
from bullion.models.adapter import (
    CONFIG,
    WEIGHTS,
    load_adapter_tensors,
    read_adapter,
)
from bullion.models.merge import assert_fits, merge_into

PISSA_ITERATIONS = 16  # of the randomised SVD, LLaMA-Factory's number
PISSA_START = "bullion_pissa_start"  # attribute of the tuned model: A0 and B0, which saving needs


def attach(
    model: PreTrainedModel,
    lora: LoraSpec,
    seed: int,
    adapter: StartingAdapter | None = None,
    pure_bf16: bool = False,
) -> PeftModel:
    """`model` with a trainable adapter in fp32 (in bf16 with `pure_bf16`); seeds torch's generators.

    An `adapter` is trained on under its own rank and targets; with `create_new` it is merged into
    the base first and a new one starts. Raises Refusal: unknown_target, unsupported_lora and what
    `read_adapter` raises.
    """
    torch.manual_seed(seed)
    dtype = torch.bfloat16 if pure_bf16 else torch.float32
    going_on = Path(adapter.path) if adapter is not None and not adapter.create_new else None
    if going_on is not None:
        assert_fits(model, read_adapter(going_on), going_on)
        tuned = PeftModel.from_pretrained(model, str(going_on), is_trainable=True)
    else:
        if adapter is not None:
            merge_into(model, Path(adapter.path))
        tuned = get_peft_model(model, _config(model, lora))
        if lora.pissa_init:
            setattr(tuned, PISSA_START, _pairs(tuned))
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    if going_on is not None:
        load_tensors(tuned, load_adapter_tensors(going_on))
    assert_trainable(tuned, dtype)
    return tuned


def linear_names(model: PreTrainedModel) -> list[str]:
    """What `all` means: the last name of every linear layer but the output head, sorted."""
    head = model.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module is not head
        }
    )


def trainable_parameters(model: PeftModel) -> dict[str, nn.Parameter]:
    """The parameters that train, by name, in the model's order."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def assert_trainable(model: PeftModel, dtype: torch.dtype) -> None:
    """Exactly the adapter trains, and in `dtype`; a fault here is ours."""
    trainable = trainable_parameters(model)
    if not trainable:
        raise AssertionError("no parameter is trainable after attaching the adapter")
    for name, parameter in trainable.items():
        if "lora_" not in name and "modules_to_save" not in name:
            raise AssertionError(f"{name} of the base is trainable")
        if parameter.dtype != dtype:
            raise AssertionError(f"{name} is {parameter.dtype}, not {dtype}")
    for name, parameter in model.named_parameters():
        if ("lora_" in name or ".modules_to_save." in name) and not parameter.requires_grad:
            raise AssertionError(f"{name} of the adapter is frozen")


def save_adapter(
    model: PeftModel,
    folder: Path,
    base_name: str,
    snapshot: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write the adapter as PEFT reads it; `base_name` (the user's word) stands in its config.

    `snapshot` is an earlier copy of `adapter_tensors(model)` to write instead of the live ones.
    A PiSSA adapter is saved as plain LoRA of twice the rank over the untouched base.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = dict(model.peft_config["default"].to_dict())
    live = adapter_tensors(model) if snapshot is None else snapshot
    tensors = {key: t.detach().cpu() for key, t in live.items()}
    start: dict[str, torch.Tensor] | None = getattr(model, PISSA_START, None)
    if start is not None:
        # s·(B A − B0 A0) = s·[B, −B0][A; A0]: twice the rank at the same scale.
        for key, first in start.items():
            sign, axis = (1, 0) if ".lora_A." in key else (-1, 1)
            tensors[key] = torch.cat([tensors[key], sign * first.to(tensors[key])], dim=axis)
        config["r"] *= 2
        config["lora_alpha"] *= 2**0.5 if config["use_rslora"] else 2
        config["init_lora_weights"] = True
    config |= {"base_model_name_or_path": base_name, "inference_mode": True}
    save_file(
        {key: tensor.contiguous() for key, tensor in sorted(tensors.items())},
        str(folder / WEIGHTS),
        metadata={"format": "pt"},
    )
    # safetensors leaves it to its writer alone; whoever may read the folder may read this
    (folder / WEIGHTS).chmod(folder.stat().st_mode & 0o666)
    text = json.dumps(_plain(config), ensure_ascii=False, indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def adapter_tensors(model: PeftModel) -> dict[str, torch.Tensor]:
    """The adapter's live tensors under the names of its file; no copies."""
    return get_peft_model_state_dict(model, save_embedding_layers=False)


def restore_adapter(model: PeftModel, folder: Path) -> None:
    """Set the adapter of an attached `model` to what `save_adapter` wrote, bit by bit."""
    tensors = load_adapter_tensors(folder)
    start: dict[str, torch.Tensor] | None = getattr(model, PISSA_START, None)
    if start is not None:
        for key, first in start.items():
            sign, axis = (1, 0) if ".lora_A." in key else (-1, 1)
            now, then = tensors[key].chunk(2, dim=axis)
            if not torch.equal(sign * then, first.cpu().to(then.dtype)):
                raise Refusal(
                    "cannot_resume",
                    f"Cannot go on from {folder} as PiSSA's decomposition comes out differently on "
                    "this machine: start anew",
                    "resume_from_checkpoint",
                )
            tensors[key] = now
    load_tensors(model, tensors)


def load_tensors(model: PeftModel, tensors: dict[str, torch.Tensor]) -> None:
    """Copy `tensors` (names as in the adapter's file) into the adapter; every one must fit."""
    live = adapter_tensors(model)
    if live.keys() != tensors.keys():
        odd = sorted(live.keys() ^ tensors.keys())
        raise Refusal(
            "broken_adapter",
            f"Cannot use the adapter: {len(odd)} tensors do not fit the base, the first {odd[0]}",
            "adapter_name_or_path",
        )
    with torch.no_grad():
        for key, tensor in tensors.items():
            if live[key].shape != tensor.shape:
                raise Refusal(
                    "broken_adapter",
                    f"Cannot use the adapter: {key} is {tuple(tensor.shape)}, the base needs "
                    f"{tuple(live[key].shape)}",
                    "adapter_name_or_path",
                )
            live[key].copy_(tensor)


def _config(model: PreTrainedModel, lora: LoraSpec) -> LoraConfig:
    known = linear_names(model)
    targets = known if "all" in lora.target else lora.target
    names = [name for name, _ in model.named_modules()]
    for wanted, param in [(t, "lora_target") for t in targets] + [
        (t, "additional_target") for t in lora.additional_target
    ]:
        if not any(name == wanted or name.endswith(f".{wanted}") for name in names):
            raise Refusal(
                "unknown_target",
                f"Cannot adapt {wanted!r} as the base has no such layer: it has {', '.join(known)}",
                param,
            )
    twice = {"embed_tokens", "lm_head"} & {t.rpartition(".")[2] for t in lora.additional_target}
    if twice and model.config.tie_word_embeddings:
        raise Refusal(
            "unsupported_lora",
            f"Cannot train {twice.pop()!r} in full as this base uses it twice (embedding and output "
            "head are tied): leave it out of additional_target",
            "additional_target",
        )
    if lora.pissa_init and (lora.use_dora or getattr(model, "is_quantized", False)):
        raise Refusal(
            "unsupported_lora",
            "Cannot use pissa_init together with use_dora or a quantised base",
            "pissa_init",
        )
    start: Any = f"pissa_niter_{PISSA_ITERATIONS}" if lora.pissa_init else True
    alpha: Any = int(lora.alpha) if float(lora.alpha).is_integer() else lora.alpha
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=alpha,
        lora_dropout=lora.dropout,
        target_modules=list(targets),
        modules_to_save=list(lora.additional_target) or None,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        init_lora_weights=start,
    )


def _pairs(model: PeftModel) -> dict[str, torch.Tensor]:
    return {
        key: tensor.detach().float().clone()
        for key, tensor in adapter_tensors(model).items()
        if ".lora_A." in key or ".lora_B." in key
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
