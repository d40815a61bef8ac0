"""Pre-training of the embedded base: rows of the corpus in, a Llama-shaped model out.

Owns the model's shape, the order of tokens and the optimisation. Rows are documents one after another
in a new order each epoch, cut every ROW tokens: a document learns from its own beginning that what
stands before it does not count. A generator of progress; it prints nothing and writes no file.

Legend: B rows of a step, T tokens of a row, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

CONTEXT = 2048
"""Positions the model accepts; it is trained on rows of `Plan.row`."""


@dataclass(frozen=True)
class Shape:
    """The base's size; everything else about it is Llama-3's."""

    hidden: int = 256
    layers: int = 6
    heads: int = 8
    key_value_heads: int = 2
    intermediate: int = 688


@dataclass(frozen=True)
class Plan:
    """How long and how fast: `tokens` in all, `rows` × `row` a step, learning rate at its peak."""

    tokens: int = 85_000_000
    rows: int = 32
    row: int = 1024
    learning_rate: float = 3e-3
    warmup_share: float = 0.03
    floor_share: float = 0.05
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0

    @property
    def steps(self) -> int:
        return max(1, self.tokens // (self.rows * self.row))


@dataclass(frozen=True)
class Progress:
    """After step `step` (from 1): loss in nats a token, the mean since the last report."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens_per_second: float


def build_model(shape: Shape, vocabulary: int, begin: int, ends: Sequence[int], seed: int):
    """A fresh fp32 LlamaForCausalLM. `ends` are the ids that end a generation, the turn's end last."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.hidden // shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        tie_word_embeddings=True,
        bos_token_id=begin,
        eos_token_id=ends[-1],
    )
    return LlamaForCausalLM(config)


def pretrain(
    model: LlamaForCausalLM,
    documents: Sequence[np.ndarray],
    plan: Plan,
    seed: int,
    device: str,
    report_every: int = 50,
) -> Iterator[Progress]:
    """Trains `model` in place on `device`. `documents` hold token ids with their begin and end.

    On CUDA it computes in bf16 over fp32 weights, on the CPU in fp32.
    """
    torch.nn.Module.to(model, device).train()
    optimizer = _optimizer(model, plan)
    batches = _rows(documents, plan, seed)
    losses: list[torch.Tensor] = []
    began = time.perf_counter()
    for step in range(1, plan.steps + 1):
        rate = plan.learning_rate * _schedule(step, plan)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = torch.from_numpy(next(batches)).to(device)  # (B, T + 1)
        with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
            logits = model(input_ids=rows[:, :-1], use_cache=False).logits  # (B, T, V)
        loss = functional.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        if step % report_every == 0 or step == plan.steps:
            mean = torch.stack(losses).mean().item()
            losses.clear()
            speed = step * plan.rows * plan.row / (time.perf_counter() - began)
            yield Progress(step, plan.steps, mean, rate, speed)
    model.eval()


def _optimizer(model: LlamaForCausalLM, plan: Plan) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.95), fused=True)


def _schedule(step: int, plan: Plan) -> float:
    """Linear warm-up, then a cosine down to the floor; `step` counts from 1."""
    warmup = max(1, round(plan.warmup_share * plan.steps))
    if step <= warmup:
        return step / warmup
    done = (step - warmup) / max(1, plan.steps - warmup)
    return plan.floor_share + (1 - plan.floor_share) * 0.5 * (1 + math.cos(math.pi * done))


def _rows(documents: Sequence[np.ndarray], plan: Plan, seed: int) -> Iterator[np.ndarray]:
    """Endless batches (B, T + 1) int64; each epoch has its own order of documents."""
    order = np.random.default_rng(seed)
    width = plan.rows * (plan.row + 1)
    rest = np.empty(0, dtype=np.uint16)
    while True:
        epoch = [documents[index] for index in order.permutation(len(documents))]
        stream = np.concatenate([rest, *epoch])
        whole = len(stream) // width * width
        for start in range(0, whole, width):
            yield stream[start : start + width].reshape(plan.rows, -1).astype(np.int64)
        rest = stream[whole:]
