"""Threads that each compute with one core, for work on many small pieces: reading, sums, writing.

Torch and the files release the interpreter's lock, so pieces run side by side; inside a piece one
core works from its own cache. Knows nothing of what the pieces are.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crew:
    """A context manager. The caller's own thread keeps its count of torch threads."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or crew_size(os.cpu_count() or 2)
        self._pool = ThreadPoolExecutor(self.threads, "crew", torch.set_num_threads, (1,))

    def each(
        self, work: Callable[[Item], Result], items: Iterable[Item], ahead: int | None = None
    ) -> Iterator[Result]:
        """`work` of every item, results in the items' order, at most `ahead` unfetched ones.

        What is raised in an item is raised here; items after it may have been worked on. When this
        ends, however it does, no item is worked on any more.
        """
        limit = ahead or 2 * self.threads
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(work, item))
                if len(waiting) >= limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            wait([future for future in waiting if not future.cancel()])

    def start(self, work: Callable[[], Result]) -> Future[Result]:
        """`work` by one of the threads, beside everything else."""
        return self._pool.submit(work)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        # A worker's setting is also what threads born later would take over.
        torch.set_num_threads(torch.get_num_threads())


def crew_size(processors: int) -> int:
    """Three quarters of the processors: the service and the disk's own threads need some, too."""
    return max(2, processors * 3 // 4)
