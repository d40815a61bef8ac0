"""Launching Triton kernels, or compiling all that a pass would launch, side by side.

Owns the one switch between the two. It knows no kernel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_only_compile: ContextVar[bool] = ContextVar("only_compile", default=False)


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    """Run `kernel` over `grid`; inside `compiling` only have it compiled for these arguments."""
    if _only_compile.get():
        kernel.warmup(*arguments, grid=grid, **options)
    else:
        kernel[grid](*arguments, **options)


@contextmanager
def compiling() -> Iterator[None]:
    """Launches in here only compile, on a thread each, and are ready at the end.

    A kernel that does not compile raises when it is first launched, not here.
    """
    import triton

    with (
        ThreadPoolExecutor(max(1, min(16, os.cpu_count() or 1))) as pool,
        triton.AsyncCompileMode(pool, ignore_errors=True),
    ):
        token = _only_compile.set(True)
        try:
            yield
        finally:
            _only_compile.reset(token)
