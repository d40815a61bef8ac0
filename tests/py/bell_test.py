"""The bell rings once for whatever was left, and again for what is left after it was answered."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator

import pytest
from bullion.bell import Bell


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)


def rings(reader: int) -> int:
    try:
        return len(os.read(reader, 4096))
    except BlockingIOError:
        return 0


def test_it_rings_once_until_it_is_answered(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    bell = Bell(writer)
    assert rings(reader) == 0
    for _ in range(3):
        bell.ring()
    assert rings(reader) == 1
    bell.answer()
    bell.ring()
    assert rings(reader) == 1


def test_nothing_is_left_behind_however_the_threads_meet(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    bell = Bell(writer)
    outbox: queue.SimpleQueue[int] = queue.SimpleQueue()
    count = 20_000

    def leave() -> None:
        for number in range(count):
            outbox.put(number)
            bell.ring()

    thread = threading.Thread(target=leave)
    thread.start()
    taken = 0
    os.set_blocking(reader, True)
    while taken < count:
        os.read(reader, 1)  # hangs where a ring was lost
        bell.answer()
        while not outbox.empty():
            outbox.get()
            taken += 1
    thread.join()
    assert taken == count


def test_a_listener_that_has_gone_hurts_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    bell = Bell(writer)
    bell.ring()
    bell.answer()
    bell.ring()
