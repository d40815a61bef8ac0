"""Small random Llamas under PEFT, packs of random records, and the reference: a pass a record."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from bullion.data.packing import Pack, join
from bullion.data.supervise import IGNORED, Example
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CPU = torch.device("cpu")


def spec(**changes: Any) -> Any:
    """The parts of a TrainSpec that the Llama step looks at."""
    return SimpleNamespace(
        quantization=changes.get("quantization"),
        lora=SimpleNamespace(use_dora=changes.get("use_dora", False)),
        optimizer=SimpleNamespace(neftune_noise_alpha=changes.get("neftune")),
        precision=SimpleNamespace(compute_dtype=changes.get("compute_dtype", "auto")),
    )


def tuned(
    targets: Sequence[str] = ALL,
    rank: int = 8,
    seed: int = 0,
    lora: dict[str, Any] | None = None,
    **config: Any,
) -> Any:
    """A random Llama with a random adapter (B is not zero, or A would get no gradient)."""
    torch.manual_seed(seed)
    numbers: dict[str, Any] = dict(
        vocab_size=211, hidden_size=48, intermediate_size=88, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, head_dim=8, max_position_embeddings=512,
        rope_theta=500000.0, rms_norm_eps=1e-5, initializer_range=0.2, use_cache=False,
    )  # fmt: skip
    base = LlamaForCausalLM(LlamaConfig(**{**numbers, **config})).eval()
    base.requires_grad_(False)
    for name, parameter in base.named_parameters():
        if "norm" in name:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(targets), **(lora or {}))
    model = get_peft_model(base, settings)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    return model


def record(index: int, prompt: int, answer: int, vocabulary: int = 211) -> Example:
    generator = torch.Generator().manual_seed(1000 + index)
    ids = torch.randint(0, vocabulary, (prompt + answer,), generator=generator).tolist()
    return Example(index, ids, [IGNORED] * prompt + ids[prompt:])


def records(count: int = 8) -> list[Example]:
    return [record(i, 3 + 2 * i % 7, 5 + 11 * i % 17) for i in range(count)]


def separate_passes(model: Any, examples: Sequence[Example]) -> tuple[float, dict[str, Any]]:
    """Loss and gradients of one step by Transformers, PEFT and autograd, a record at a time."""
    for parameter in model.parameters():
        parameter.grad = None
    trained = sum(label != IGNORED for e in examples for label in e.labels[1:])
    total = 0.0
    for example in examples:
        ids = torch.tensor([example.input_ids])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, :-1]
        labels = torch.tensor(example.labels[1:], dtype=torch.int64)
        loss = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
        (loss / trained).backward()
        total += loss.item() / trained
    return total, {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def trained_tokens(packs: Sequence[Pack]) -> int:
    return sum(int((p.labels != IGNORED).sum()) for p in packs)


def gradients(stepper: Any, packs: Sequence[Pack]) -> tuple[float, dict[str, Any]]:
    """Loss and gradients of one step by a stepper, from zeroed gradients."""
    for _, parameter in stepper.trainable():
        if parameter.grad is not None:
            parameter.grad.zero_()
    loss = sum(stepper.accumulate(pack, trained_tokens(packs)).item() for pack in packs)
    return loss, {n: p.grad.clone() for n, p in stepper.trainable()}


def worst(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """The largest relative difference of a tensor, by norm."""
    assert ours.keys() == theirs.keys()
    return max(
        ((ours[n] - theirs[n]).norm() / theirs[n].norm().clamp(min=1e-30)).item() for n in theirs
    )


@pytest.fixture(autouse=True)
def no_gradient_state() -> Any:
    yield
    torch.set_grad_enabled(True)


def pack(examples: Sequence[Example]) -> Pack:
    return join(examples)
