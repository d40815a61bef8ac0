"""The error that a user is told about. Everything else that is raised is a fault of ours."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass


class Refusal(ValueError):
    """Work that cannot be done as asked: a stable snake_case `code`, a message that helps, a `param`.

    The grammar of a message: what was wrong, which value, what to do.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def missing_package(what: str, package: str, param: str) -> Refusal:
    """`what` needs a package that this interpreter lacks. A bare pip would install it into another."""
    command = f"{shlex.quote(sys.executable)} -m pip install {package}"
    return Refusal(
        "missing_package",
        f"{what} needs the package {package}, which Python here does not have: run `{command}`",
        param,
    )


@dataclass(frozen=True)
class ErrorDetail:
    """An error as it crosses the bridge; twin of contract/errors.ts."""

    code: str
    message: str
    param: str | None = None


def detail_of(raised: BaseException) -> ErrorDetail:
    """The wire form of anything raised. A fault of ours becomes `internal_error` and names its class."""
    if isinstance(raised, Refusal):
        return ErrorDetail(raised.code, raised.message, raised.param)
    if isinstance(raised, MemoryError) or type(raised).__name__ == "OutOfMemoryError":
        return ErrorDetail("out_of_memory", f"Ran out of memory: {raised}")
    return ErrorDetail("internal_error", f"{type(raised).__name__}: {raised}")
