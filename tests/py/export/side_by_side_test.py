"""Work on threads: in order, bounded, errors told, nothing left running; files sealed meanwhile."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from pathlib import Path

import pytest
import torch
from bullion.export import seal
from bullion.export.crew import Crew, crew_size
from bullion.export.seal import Sealing


def test_results_come_in_the_items_order() -> None:
    with Crew(4) as crew:
        work = crew.each(lambda i: time.sleep(0.001 * (i % 3)) or i, range(40))
        assert list(work) == list(range(40))


def test_no_more_items_are_begun_than_were_asked_ahead() -> None:
    begun: list[int] = []
    with Crew(2) as crew:
        work = crew.each(begun.append, range(40), ahead=3)
        next(work)
        time.sleep(0.02)
        assert len(begun) <= 3
        work.close()


def test_an_error_in_an_item_is_raised_and_nothing_works_on_behind_it() -> None:
    working: set[int] = set()

    def work(i: int) -> None:
        working.add(i)
        time.sleep(0.01)
        working.discard(i)
        if i == 3:
            raise ValueError("the third")

    with Crew(3) as crew:
        with pytest.raises(ValueError, match="the third"):
            list(crew.each(work, range(30)))
        assert not working - {3}


def test_each_of_the_crew_computes_with_one_core_and_the_caller_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with Crew(2) as crew:
            assert set(crew.each(lambda _: torch.get_num_threads(), range(4))) == {1}
        assert torch.get_num_threads() == 3
        born_later = []
        thread = threading.Thread(target=lambda: born_later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert born_later == [3]
    finally:
        torch.set_num_threads(before)


def test_a_crew_leaves_processors_to_others_where_there_are_many() -> None:
    assert [crew_size(n) for n in (1, 2, 4, 16)] == [2, 2, 3, 12]


def test_a_file_is_synced_while_it_grows_and_once_more_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(seal, "SECONDS_BETWEEN_SYNCS", 0.01)
    monkeypatch.setattr(os, "fdatasync", lambda handle: calls.append("growing"))
    monkeypatch.setattr(os, "fsync", lambda handle: calls.append("whole"))
    file = tmp_path / "a"
    file.write_bytes(b"weights")
    with Sealing() as sealing:
        sealing.begin(file)
        time.sleep(0.1)
        assert "growing" in calls and "whole" not in calls
        sealing.written(file)
        assert sealing.hashes() == {"a": hashlib.sha256(b"weights").hexdigest()}
    assert calls[-1] == "whole"


def test_a_sync_that_fails_while_a_file_grows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(seal, "SECONDS_BETWEEN_SYNCS", 0.01)
    monkeypatch.setattr(os, "fdatasync", full)
    file = tmp_path / "a"
    file.write_bytes(b"weights")
    with pytest.raises(OSError, match="No space"), Sealing() as sealing:
        sealing.begin(file)
        time.sleep(0.1)
        sealing.written(file)
        sealing.hashes()


def test_files_nobody_wants_any_more_keep_nobody_waiting(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"weights")
    with pytest.raises(KeyError), Sealing() as sealing:
        sealing.begin(file)
        raise KeyError
    begin = time.monotonic()
    while any(thread.name.startswith("seal") for thread in threading.enumerate()):
        assert time.monotonic() - begin < 5
        time.sleep(0.01)
