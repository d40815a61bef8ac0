"""Draws follow their settings, and a seed gives the same text whoever is beside it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from bullion.engine.sampling import Choosing, choice_seed, choose, draw
from serving import Serving, generate, sampling

LOGITS = torch.tensor([2.0, 1.5, 0.0, -1.0, 1.0, -3.0])


def drawn(count: int, **settings: Any) -> Counter[int]:
    """How often each token is drawn from LOGITS by `count` seeds."""
    rows = [Choosing(sampling(**settings), seed, prompt=[2]) for seed in range(count)]
    return Counter(choose(LOGITS.repeat(count, 1), rows).tolist())


def test_draws_follow_the_distribution_at_its_temperature() -> None:
    for heat in (0.5, 1.0, 2.0):
        counts = drawn(20000, temperature=heat)
        expected = (LOGITS / heat).softmax(-1)
        for token in range(6):
            assert counts[token] / 20000 == pytest.approx(expected[token].item(), abs=0.012)


def test_top_k_keeps_the_k_best_in_their_proportions() -> None:
    counts = drawn(8000, temperature=1.0, top_k=2)
    assert set(counts) == {0, 1}
    assert counts[0] / 8000 == pytest.approx(LOGITS[:2].softmax(-1)[0].item(), abs=0.02)


def test_top_p_keeps_the_fewest_that_reach_p() -> None:
    assert set(drawn(4000, temperature=1.0, top_p=0.5)) == {0, 1}
    assert set(drawn(4000, temperature=1.0, top_p=0.4)) == {0}
    assert set(drawn(4000, temperature=1.0, top_p=0.9)) == {0, 1, 4}


def test_min_p_drops_what_is_far_less_likely_than_the_best() -> None:
    share = (LOGITS.softmax(-1) / LOGITS.softmax(-1).max()).tolist()
    assert set(drawn(4000, temperature=1.0, min_p=0.3)) == {t for t in range(6) if share[t] >= 0.3}


def test_a_row_draws_the_same_whatever_its_neighbours_ask_for() -> None:
    mine = sampling(temperature=1.0)
    others = [sampling(), sampling(temperature=0.7, top_p=0.5), sampling(repetition_penalty=2.0)]
    for seed in range(50):
        alone = choose(LOGITS.repeat(1, 1), [Choosing(mine, seed, [])])
        rows = [Choosing(mine, seed, []), *(Choosing(other, 1, [0]) for other in others)]
        assert choose(LOGITS.repeat(4, 1), rows)[0] == alone[0]


def test_penalties_change_logits_as_their_definitions_say() -> None:
    row = Choosing(
        sampling(repetition_penalty=2.0, presence_penalty=0.1, frequency_penalty=0.3), 0, [0, 5]
    )
    logits = torch.tensor([[2.0, 1.5, 0.0, -1.0, 1.4, -3.0]])
    # token 0 of the prompt is halved to 1.0, so 1 is best; it is then halved to .75, less .1 less .3
    assert [choose(logits, [row]).item() for _ in range(3)] == [1, 4, 0]
    assert logits[0, 0] == 2.0  # the caller's logits stay


def test_frequency_counts_generated_tokens_only_and_each_time() -> None:
    row = Choosing(sampling(frequency_penalty=0.6), 0, prompt=[0, 0, 0])
    logits = torch.tensor([[2.0, 1.0]])
    assert [choose(logits, [row]).item() for _ in range(4)] == [0, 0, 1, 0]


def test_a_bias_is_added_and_a_mask_holds_for_one_token() -> None:
    row = Choosing(sampling(logit_bias={"3": 50.0}), 0, [])
    assert choose(LOGITS[None], [row]).item() == 3
    row.allowed = torch.tensor([False, False, True, False, False, True])
    assert choose(LOGITS[None], [row]).item() == 2
    assert choose(LOGITS[None], [row]).item() == 3


def test_the_numbers_of_a_seed_are_even_and_differ_from_the_next_seed() -> None:
    numbers = [draw(seed, place) for seed in range(100) for place in range(100)]
    assert len(set(numbers)) > 9990
    assert sum(numbers) / 10000 == pytest.approx(0.5, abs=0.01)
    assert choice_seed(7, 2) == 9
    assert [choice_seed(seed, 1) for seed in (2**64, 2**63, -(2**63))] == [1, 2**63 + 1, 2**63 + 1]
    assert choice_seed(None, 0) != choice_seed(None, 0)


def test_the_same_seed_gives_the_same_text_whatever_else_is_in_the_batch(
    serving: Serving,
) -> None:
    settings: dict[str, Any] = {"temperature": 1.0, "seed": 42, "max_tokens": 30}
    alone = serving.text(generate("alone", [0, 5, 6], **settings))
    others = [
        generate(f"other{i}", [0, *range(5, 10 + 9 * i)], temperature=1.5, top_p=0.9, seed=i)
        for i in range(6)
    ]
    serving.run([*others, generate("again", [0, 5, 6], **settings)])
    assert serving.texts[("again", 0)] == alone
    assert serving.text(generate("else", [0, 5, 6], **settings | {"seed": 43})) != alone


def test_choice_k_of_n_is_the_text_of_seed_plus_k(serving: Serving) -> None:
    settings: dict[str, Any] = {"temperature": 1.0, "max_tokens": 20}
    serving.run([generate("many", [0, 5, 6], n=3, seed=10, **settings)])
    for index in range(3):
        single = serving.text(generate(f"one{index}", [0, 5, 6], seed=10 + index, **settings))
        assert serving.texts[("many", index)] == single


def test_a_tiny_top_p_leaves_the_likeliest_token_alone() -> None:
    assert set(drawn(2000, temperature=2.0, top_p=1e-6)) == {0}
