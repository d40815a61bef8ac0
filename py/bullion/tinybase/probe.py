"""Does tuning teach the base facts it has never met? The measure the base is made for.

Draws facts of unseen companies, tunes rank-8 adapters on the trained phrasings and asks in the others,
base and tuned, greedily. The adapter here is the plain formula on purpose: it must not depend on the
trainer whose demonstration this base is for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from random import Random

import torch
from torch import nn
from torch.nn import functional

from bullion.tinybase.companies import draw_company
from bullion.tinybase.corpus import Document, Turn
from bullion.tinybase.facts import Fact, draw_facts
from bullion.tinybase.phrasings import Phrasings


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


@dataclass(frozen=True)
class Verdict:
    """Right answers out of `asked`: the value of the fact stands in the answer."""

    facts: int
    asked: int
    base_held_out: int
    tuned_held_out: int
    tuned_trained: int
    first_loss: float
    last_loss: float
    tuning_seconds: float
    misses: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        return asdict(self)


class _Adapted(nn.Module):
    """A frozen linear layer plus scale · B(A(x)); B starts at zero."""

    def __init__(self, base: nn.Linear, recipe: Recipe):
        super().__init__()
        self.base, self.scale = base, recipe.scale
        where = {"device": base.weight.device, "dtype": torch.float32}
        self.a = nn.Parameter(torch.empty(recipe.rank, base.in_features, **where))
        self.b = nn.Parameter(torch.zeros(base.out_features, recipe.rank, **where))
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


def draw_probe(seed: int, companies: int, facts: int) -> list[Fact]:
    """`facts` facts spread over `companies` companies that no corpus of another seed text holds."""
    drawn: list[Fact] = []
    for index in range(companies):
        rng = Random(f"{seed}:probe:{index}")
        company = draw_company(rng)
        share = facts * (index + 1) // companies - facts * index // companies
        drawn += draw_facts(rng, company, company.short_name, share)
    return drawn


def probe(
    model, tokenizer, phrasings: Phrasings, facts: Sequence[Fact], recipe: Recipe, seed: int = 42
) -> Verdict:
    """Asks, tunes `model` in place, asks again. `tokenizer` is a `tokenizers.Tokenizer`."""
    trained, held_out = [], []
    for fact in facts:
        ways = phrasings.questions(fact)
        trained += [(fact, way) for way in ways[: phrasings.trained]]
        held_out += [(fact, way) for way in ways[phrasings.trained :]]
    before = ask(model, tokenizer, [way for _, way in held_out])
    began = time.perf_counter()
    pairs = [(way, phrasings.answer(fact)) for fact, way in trained]
    losses = tune(model, tokenizer, pairs, recipe, seed)
    seconds = time.perf_counter() - began
    after = ask(model, tokenizer, [way for _, way in held_out])
    known = ask(model, tokenizer, [way for _, way in trained])
    right = [fact.value in answer for (fact, _), answer in zip(held_out, after, strict=True)]
    misses = [
        f"{way} → {answer} ({fact.value})"
        for (fact, way), answer, ok in zip(held_out, after, right, strict=True)
        if not ok
    ]
    return Verdict(
        facts=len(facts),
        asked=len(held_out),
        base_held_out=sum(f.value in a for (f, _), a in zip(held_out, before, strict=True)),
        tuned_held_out=sum(right),
        tuned_trained=sum(f.value in a for (f, _), a in zip(trained, known, strict=True)),
        first_loss=losses[0],
        last_loss=losses[-1],
        tuning_seconds=round(seconds, 1),
        misses=misses[:12],
    )


def tune(
    model, tokenizer, pairs: Sequence[tuple[str, str]], recipe: Recipe, seed: int
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


@torch.no_grad()
def ask(model, tokenizer, questions: Sequence[str], most: int = 80, batch: int = 64) -> list[str]:
    """Greedy answers. Prompts of one length go together, so that no row needs padding."""
    end = tokenizer.token_to_id("<|eot_id|>")
    device = next(model.parameters()).device
    prompts = [_prompt(tokenizer, question) for question in questions]
    by_length: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(index)
    groups = [g[i : i + batch] for g in by_length.values() for i in range(0, len(g), batch)]
    answers = [""] * len(questions)
    for group in groups:
        ids = torch.tensor([prompts[index] for index in group], device=device)
        out = model(input_ids=ids, use_cache=True)
        drawn: list[torch.Tensor] = []
        ended = torch.zeros(len(group), dtype=torch.bool, device=device)
        for _ in range(most):
            token = out.logits[:, -1].argmax(-1)
            drawn.append(token)
            ended |= token == end
            if bool(ended.all()):
                break
            out = model(
                input_ids=token[:, None], past_key_values=out.past_key_values, use_cache=True
            )
        for index, row in zip(group, torch.stack(drawn, 1).tolist(), strict=True):
            answers[index] = tokenizer.decode(row[: row.index(end)] if end in row else row)
    return answers


def _prompt(tokenizer, question: str) -> list[int]:
    opened = Document(turns=(Turn("user", question),)).render()
    text = f"{opened}<|start_header_id|>assistant<|end_header_id|>\n\n"
    return tokenizer.encode(text, add_special_tokens=False).ids


def _example(tokenizer, question: str, answer: str) -> tuple[list[int], int]:
    """Token ids and the length of the prompt, which is not trained."""
    prompt = _prompt(tokenizer, question)
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
