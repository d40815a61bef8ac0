"""What the engine computes is what transformers computes on the same weights."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from serving import Serving, generate

ON_GPU = torch.cuda.is_available()
TOLERANCE = 0.1 if ON_GPU else 1e-4  # bf16 there, fp32 here
IDS = [0, *(random.Random(5).randrange(5, 400) for _ in range(90))]


def greedy(model: Any, ids: list[int], count: int) -> list[int]:
    with torch.no_grad():
        prompt = torch.tensor([ids])
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=count,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    return list(out[0, len(ids) :].tolist())


def assert_greedy(model: Any, prompt: list[int], answer: list[int]) -> None:
    """In fp32 the very tokens of transformers; in bf16 each as good as the best, but for rounding."""
    if not ON_GPU:
        assert answer == greedy(model, prompt, len(answer))
        return
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float()
    scores = torch.log_softmax(logits, -1)
    chosen = scores.gather(1, torch.tensor(answer).unsqueeze(1)).squeeze(1)
    assert (scores.amax(-1) - chosen).max() < TOLERANCE


def test_greedy_tokens_are_those_of_transformers(serving: Serving, reference: Any) -> None:
    serving.run([generate("a", IDS, logprobs=0, max_tokens=60)])
    assert_greedy(reference, IDS, [token.id for token in serving.tokens[("a", 0)]])


def test_log_probabilities_of_prompt_and_answer_are_those_of_transformers(
    serving: Serving, reference: Any
) -> None:
    serving.run([generate("a", IDS, logprobs=5, echo=True, max_tokens=8)])
    entries = serving.tokens[("a", 0)]
    ids = [entry.id for entry in entries]
    assert ids[: len(IDS)] == IDS and len(ids) == len(IDS) + 8
    assert entries[0].logprob is None and entries[0].top == []
    with torch.no_grad():
        expected = torch.log_softmax(reference(torch.tensor([ids])).logits[0].float(), -1)
    for place, entry in enumerate(entries[1:], start=1):
        row = expected[place - 1]
        assert entry.logprob == pytest.approx(row[entry.id].item(), abs=TOLERANCE)
        best = row.topk(5)
        assert [top.logprob for top in entry.top] == pytest.approx(
            best.values.tolist(), abs=TOLERANCE
        )
    for entry in entries[len(IDS) :]:
        assert entry.top[0].id == entry.id
        assert entry.top[0].logprob == entry.logprob  # the very same float


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_adapter_answers_as_its_merged_model_does(
    serving: Serving, base: Path, adapters: list[Path], which: int
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(plain, adapters[which]).merge_and_unload()
    serving.load("tuned", adapters[which])
    serving.run([generate("a", IDS, model="tuned", logprobs=0, echo=True, max_tokens=24)])
    entries = serving.tokens[("a", 0)]
    if not ON_GPU:
        assert_greedy(merged, IDS, [entry.id for entry in entries[len(IDS) :]])
    with torch.no_grad():
        ids = torch.tensor([[entry.id for entry in entries]])
        expected = torch.log_softmax(merged(ids).logits[0].float(), -1)
    for place, entry in enumerate(entries[1:], start=1):
        assert entry.logprob == pytest.approx(
            expected[place - 1, entry.id].item(), abs=10 * TOLERANCE
        )
    serving.run([generate("b", IDS, logprobs=0, max_tokens=24)])
    assert [t.id for t in serving.tokens[("b", 0)]] != [t.id for t in entries[len(IDS) :]]
