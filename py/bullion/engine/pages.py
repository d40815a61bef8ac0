"""Pages of KV memory: who holds which, and which hold a prefix that can be used again.

It hands out page numbers and counts their holders; the memory itself belongs to the runner. A page
is free, held (by one or more sequences), or kept: held by nobody but still holding a known prefix,
given away again, oldest first, when no free page is left. No torch here.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

Key = bytes


class PagePool:
    """`count` pages of `page_tokens` tokens each. Page 0 is never given away: padding writes there."""

    def __init__(self, count: int, page_tokens: int) -> None:
        if count < 2:
            raise ValueError(f"a pool needs two pages or more, not {count}")
        self.count = count
        self.page_tokens = page_tokens
        self._free = deque(
            range(1, count)
        )  # in turn, so that a sequence's pages are often neighbours
        self._holders = [0] * count
        self._key_of: dict[int, Key] = {}
        self._page_of: dict[Key, int] = {}
        self._kept: OrderedDict[int, None] = OrderedDict()  # oldest first

    @property
    def capacity(self) -> int:
        """Pages that sequences can hold at all."""
        return self.count - 1

    @property
    def available(self) -> int:
        """Pages that `allocate` can give now."""
        return len(self._free) + len(self._kept)

    @property
    def held(self) -> int:
        return self.capacity - self.available

    def pages_for(self, tokens: int) -> int:
        return -(-tokens // self.page_tokens)

    def allocate(self, count: int) -> list[int] | None:
        """`count` pages with one holder each, or None (and nothing taken) when there are too few."""
        if count > self.available:
            return None
        pages = []
        for _ in range(count):
            page = self._free.popleft() if self._free else self._forget_oldest()
            self._holders[page] = 1
            pages.append(page)
        return pages

    def release(self, pages: Sequence[int]) -> None:
        """One holder less for each page."""
        for page in reversed(pages):
            self._holders[page] -= 1
            if self._holders[page] < 0:
                raise AssertionError(f"page {page} was released by nobody who held it")
            if self._holders[page] == 0:
                if page in self._key_of:
                    self._kept[page] = None
                else:
                    self._free.append(page)

    def match(self, keys: Sequence[Key]) -> list[int]:
        """The pages of the longest known run of `keys` from the first on, held once more each."""
        pages = []
        for key in keys:
            page = self._page_of.get(key)
            if page is None:
                break
            if self._holders[page] == 0:
                del self._kept[page]
            self._holders[page] += 1
            pages.append(page)
        return pages

    def publish(self, page: int, key: Key) -> None:
        """Says that `page`, held and full, holds the prefix of `key`. The first of equals stays."""
        if key not in self._page_of and page not in self._key_of:
            self._page_of[key] = page
            self._key_of[page] = key

    def forget(self) -> None:
        """Drops every known prefix (the weights behind them changed)."""
        for page in self._kept:
            self._free.append(page)
        self._kept.clear()
        self._key_of.clear()
        self._page_of.clear()

    def _forget_oldest(self) -> int:
        page, _ = self._kept.popitem(last=False)
        del self._page_of[self._key_of.pop(page)]
        return page


def prefix_keys(
    tokens: Sequence[int], page_tokens: int, salt: bytes, parent: Key = b"", start: int = 0
) -> Iterator[Key]:
    """One key for each full page of `tokens` from page `start`: a digest of all before it and it.

    `salt` names what else the values depend on (the adapter); `parent` is the key of page start − 1.
    """
    for page in range(start, len(tokens) // page_tokens):
        piece = array("i", tokens[page * page_tokens : (page + 1) * page_tokens]).tobytes()
        parent = hashlib.blake2b(parent + salt + piece, digest_size=16).digest()
        yield parent
