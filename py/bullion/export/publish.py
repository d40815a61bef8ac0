"""A folder that appears under its name only when it is complete.

Owns the temporary folder beside the target, the syncing, and the rename. It knows no model.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bullion.contract.errors import Refusal

DESCRIPTION = "bullion.json"  # what marks a folder as an export of ours


def check_target(target: Path, source: Path, needed: int) -> None:
    """Refuse a target that is the base, that holds a stranger's files, or a disk without room."""
    if target.resolve() == source.resolve():
        raise Refusal(
            "export_dir_taken",
            f"Cannot export to {target} as the base itself lies there: choose another export_dir",
            "export_dir",
        )
    ours = (target / DESCRIPTION).is_file()
    if target.exists() and not ours and (not target.is_dir() or any(target.iterdir())):
        raise Refusal(
            "export_dir_taken",
            f"Cannot export to {target} as it holds files that no export of ours wrote: choose "
            "another export_dir or remove it",
            "export_dir",
        )
    home = next(parent for parent in target.resolve().parents if parent.exists())
    free = shutil.disk_usage(home).free
    if free < needed:
        raise _disk_full(target, f"{needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB free")


@contextmanager
def publishing(target: Path, job_id: str) -> Iterator[Path]:
    """Gives an empty folder to fill; it becomes `target` when the block ends without an error.

    An older export there is replaced. Left-overs of earlier attempts are removed. Raises Refusal
    disk_full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _tidy(target)
    partial = target.parent / f".{target.name}.{Path(job_id).name}.partial"
    partial.mkdir()
    try:
        yield partial
        _sync(partial)
        older = partial.with_suffix(".older")
        if target.exists():
            target.rename(older)
        try:
            partial.rename(target)
        except OSError:
            if older.exists():
                older.rename(target)
            raise
        _sync_folder(target.parent)
        shutil.rmtree(older, ignore_errors=True)
    except OSError as raised:
        if raised.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _disk_full(target, "make room") from raised
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _tidy(target: Path) -> None:
    """What a killed process left: an unfinished folder goes, a moved older export comes back."""
    for stale in target.parent.glob(f".{target.name}.*.partial"):
        shutil.rmtree(stale, ignore_errors=True)
    for older in target.parent.glob(f".{target.name}.*.older"):
        if target.exists():
            shutil.rmtree(older, ignore_errors=True)
        else:
            older.rename(target)


def _sync(folder: Path) -> None:
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_full(target: Path, what: str) -> Refusal:
    return Refusal(
        "disk_full",
        f"Cannot export to {target} as the disk is full: {what}. Nothing was left behind",
        "export_dir",
    )
