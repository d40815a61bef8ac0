"""Does tuning teach the base facts it has never met? The measure the base is made for.

Draws facts of unseen companies, tunes rank-8 adapters on the trained phrasings and asks in the others,
base and tuned, greedily. Owns the questions and the score; tuning.py owns the adapter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from random import Random

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from bullion.tinybase.companies import draw_company
from bullion.tinybase.facts import Fact, draw_facts
from bullion.tinybase.phrasings import Phrasings
from bullion.tinybase.tuning import Recipe, prompt_ids, tune


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
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    phrasings: Phrasings,
    facts: Sequence[Fact],
    recipe: Recipe,
    seed: int = 42,
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


@torch.no_grad()
def ask(
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    questions: Sequence[str],
    most: int = 80,
    batch: int = 64,
) -> list[str]:
    """Greedy answers. Prompts of one length go together, so that no row needs padding."""
    end = tokenizer.token_to_id("<|eot_id|>")
    device = next(model.parameters()).device
    prompts = [prompt_ids(tokenizer, question) for question in questions]
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
