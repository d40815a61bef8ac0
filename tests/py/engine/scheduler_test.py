"""Who computes what, on numbers alone: no torch, no model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bullion.contract.errors import Refusal
from bullion.engine.pages import PagePool
from bullion.engine.scheduler import Plan, Scheduler
from bullion.engine.sequence import Sequence, Stage
from serving import sampling


def sequence(prompt: int, new: int, first: int = 0) -> Sequence:
    return Sequence("r", 0, list(range(first, first + prompt)), sampling(), new)


def carry_out(scheduler: Scheduler, plan: Plan) -> None:
    """What a runner and its reader do: every sampled token arrives, ended sequences leave."""
    for piece in plan.pieces:
        scheduler.publish(piece.sequence)
    drawn = [piece.sequence for piece in plan.pieces if piece.last] + plan.decode
    for each in drawn:
        each.in_flight -= 1
        each.tokens.append(1)
        if each.generated >= each.max_new:
            scheduler.end(each)


def test_the_policy_needs_no_torch() -> None:
    source = "import sys, bullion.engine.scheduler; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[3] / "py"
    assert subprocess.run([sys.executable, "-c", source], cwd=root, check=False).returncode == 0


def test_a_long_prompt_is_cut_into_pieces_and_others_go_on_between_them() -> None:
    scheduler = Scheduler(PagePool(65, 4), 8, 8, prefill_tokens=10)
    quick, long = sequence(3, 20), sequence(25, 2, first=100)
    scheduler.add([quick])
    carry_out(scheduler, scheduler.plan())
    scheduler.add([long])
    pieces = []
    while long.stage is not Stage.DECODE:
        plan = scheduler.plan()
        pieces += [(piece.start, piece.end, piece.last) for piece in plan.pieces]
        assert plan.decode == [quick]
        carry_out(scheduler, plan)
    assert pieces == [(0, 10, False), (10, 20, False), (20, 25, True)]


def test_requests_start_in_the_order_in_which_they_came() -> None:
    scheduler = Scheduler(PagePool(9, 4), 2, 8, prefill_tokens=100)
    waiting = [sequence(12, 2, 100 * i) for i in range(5)]
    scheduler.add(waiting)
    started: list[Sequence] = []
    while scheduler.busy:
        plan = scheduler.plan()
        started += [piece.sequence for piece in plan.pieces if piece.start == 0]
        carry_out(scheduler, plan)
    assert started == waiting


def test_when_pages_run_short_the_youngest_is_parked_and_comes_back() -> None:
    pool = PagePool(9, 4)
    scheduler = Scheduler(pool, 4, 8, prefill_tokens=100)
    old, young = sequence(4, 20), sequence(4, 20, 50)
    scheduler.add([old, young])
    parked: list[Sequence] = []
    restored: list[Sequence] = []
    while scheduler.busy:
        plan = scheduler.plan()
        parked += [each for each, _ in plan.park]
        restored += plan.restore
        for each, pages in plan.park:
            assert len(pages) == pool.pages_for(each.computed)
            each.parked = "its keys and values"
        carry_out(scheduler, plan)
    assert parked and set(parked) == {young}
    assert len(restored) == len(parked)
    assert (old.generated, young.generated) == (20, 20)
    assert pool.held == 0


def test_a_page_is_free_as_soon_as_its_sequence_ends() -> None:
    pool = PagePool(9, 4)
    scheduler = Scheduler(pool, 4, 8, prefill_tokens=100)
    running = sequence(10, 20)
    scheduler.add([running])
    carry_out(scheduler, scheduler.plan())
    assert pool.held == 3
    scheduler.end(running)
    assert pool.held == 0
    scheduler.end(running)  # once more changes nothing


def test_the_queue_is_bounded_by_what_may_wait_behind_what_may_run() -> None:
    scheduler = Scheduler(PagePool(9, 4), 2, 1, prefill_tokens=100)
    scheduler.add([sequence(4, 1) for _ in range(3)])
    with pytest.raises(Refusal) as refused:
        scheduler.add([sequence(4, 1), sequence(4, 1)])
    assert refused.value.code == "queue_full"
    assert "2 more where 1 of 1 places are taken" in refused.value.message


def test_pages_hold_prefixes_until_they_are_needed_for_something_else() -> None:
    pool = PagePool(5, 4)
    first = pool.allocate(2)
    assert first is not None
    pool.publish(first[0], b"one")
    pool.publish(first[1], b"two")
    pool.release(first)
    assert pool.held == 0
    assert pool.match([b"one", b"two", b"three"]) == first
    pool.release(first)
    assert pool.allocate(5) is None
    assert pool.allocate(4) is not None  # the kept ones among them
    assert pool.match([b"one"]) == []


def test_one_page_with_two_holders_stays_when_one_lets_go() -> None:
    pool = PagePool(3, 4)
    pages = pool.allocate(1)
    assert pages is not None
    pool.publish(pages[0], b"shared")
    assert pool.match([b"shared"]) == pages
    pool.release(pages)
    assert pool.held == 1
    pool.release(pages)
    assert pool.held == 0
    with pytest.raises(AssertionError):
        pool.release(pages)
