"""Makes written files durable and hashes them while other work goes on.

A merged model may take its name only when its bytes are on the disk. Waiting for that after the
last byte would cost as long as everything else: so each file is synced piece by piece as it grows.
"""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

SECONDS_BETWEEN_SYNCS = 1.0
FILES_AT_A_TIME = 4


class Sealing:
    """A context manager over files that one writer makes one after the other or side by side.

    Raises OSError from `hashes` when a file did not reach the disk: ENOSPC may come that late.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2 * FILES_AT_A_TIME, "seal")
        self._written: dict[Path, threading.Event] = {}
        self._synced: list[Future[None]] = []
        self._hashed: dict[str, Future[str]] = {}
        self._given_up = False

    def begin(self, file: Path) -> None:
        """`file` exists and grows from now on. At most FILES_AT_A_TIME do so at a time."""
        self._written[file] = threading.Event()
        self._synced.append(self._pool.submit(self._sync, file, self._written[file]))

    def written(self, file: Path) -> None:
        """`file` has all its bytes."""
        self._written[file].set()
        self._hashed[file.name] = self._pool.submit(_sha256, file)

    def hashes(self) -> dict[str, str]:
        """Waits until every file is on the disk: sha256 by file name."""
        for synced in self._synced:
            synced.result()
        return {name: hashed.result() for name, hashed in self._hashed.items()}

    def _sync(self, file: Path, written: threading.Event) -> None:
        # One handle for all syncs: the kernel tells a failed write to each handle once.
        with file.open("rb") as stream:
            while not written.wait(SECONDS_BETWEEN_SYNCS):
                os.fdatasync(stream.fileno())
            if not self._given_up:
                os.fsync(stream.fileno())

    def __enter__(self) -> Sealing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._given_up = kind is not None
        for written in self._written.values():
            written.set()
        # A sync under way of files that nobody wants ends by itself.
        self._pool.shutdown(wait=kind is None, cancel_futures=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
