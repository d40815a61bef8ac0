"""A plain LoRA for the probe: the formula, padded batches, AdamW, nothing else.

It stands apart from bullion.train on purpose: a measure of the base must not move with the trainer
whose demonstration the base is for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from bullion.tinybase.corpus import Document, Turn


@dataclass(frozen=True)
class Recipe:
    """configs/recipes/bullion_tiny.yaml in the probe's words."""

    rank: int = 8
    scale: float = 2.0
    learning_rate: float = 1e-2
    epochs: int = 12
    batch: int = 8
    warmup_share: float = 0.1
    max_grad_norm: float = 1.0


class _Adapted(nn.Module):
    """A frozen linear layer plus scale · B(A(x)); B starts at zero."""

    def __init__(self, base: nn.Linear, recipe: Recipe):
        super().__init__()
        self.base, self.scale = base, recipe.scale
        like = base.weight
        self.a = nn.Parameter(like.new_empty(recipe.rank, base.in_features))
        self.b = nn.Parameter(like.new_zeros(base.out_features, recipe.rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.scale * functional.linear(functional.linear(x, self.a), self.b)


def adapt(model: nn.Module, recipe: Recipe) -> list[nn.Parameter]:
    """Freezes `model`, adapts every linear layer but lm_head in place, returns the new parameters."""
    model.requires_grad_(False)
    named = [
        (n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"
    ]
    for name, module in named:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, _Adapted(module, recipe))
    return [p for p in model.parameters() if p.requires_grad]


def tune(
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    pairs: Sequence[tuple[str, str]],
    recipe: Recipe,
    seed: int,
) -> list[float]:
    """Trains adapters on (question, answer) pairs; the loss of each step."""
    torch.manual_seed(seed)
    parameters = adapt(model, recipe)
    device = parameters[0].device
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    examples = [_example(tokenizer, *pair) for pair in pairs]
    steps = math.ceil(len(examples) / recipe.batch) * recipe.epochs
    warmup = math.ceil(recipe.warmup_share * steps)
    losses: list[float] = []
    model.train()
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed + epoch))
        for chosen in order.split(recipe.batch):
            done = len(losses)
            share = (done - warmup) / max(1, steps - warmup)
            factor = done / warmup if done < warmup else 0.5 * (1 + math.cos(math.pi * share))
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * factor
            ids, labels = _pad([examples[index] for index in chosen.tolist()], device)
            logits = model(input_ids=ids, use_cache=False).logits.float()  # (B, T, V)
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, recipe.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
    model.eval()
    return losses


def prompt_ids(tokenizer: Tokenizer, question: str) -> list[int]:
    opened = Document(turns=(Turn("user", question),)).render()
    text = f"{opened}<|start_header_id|>assistant<|end_header_id|>\n\n"
    return tokenizer.encode(text, add_special_tokens=False).ids


def _example(tokenizer: Tokenizer, question: str, answer: str) -> tuple[list[int], int]:
    """Token ids and the length of the prompt, which is not trained."""
    prompt = prompt_ids(tokenizer, question)
    tail = tokenizer.encode(f"{answer}<|eot_id|>", add_special_tokens=False).ids
    return prompt + tail, len(prompt)


def _pad(examples: Sequence[tuple[list[int], int]], device) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) ids and labels; padding stands on the right, where causal attention never looks back."""
    width = max(len(ids) for ids, _ in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, (tokens, prompt) in enumerate(examples):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, prompt : len(tokens)] = ids[row, prompt : len(tokens)]
    return ids.to(device), labels.to(device)
