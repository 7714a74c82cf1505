"""Atomic writing: a reader sees the old file or the new one, and writers do not interleave."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a folder, against other processes and threads that use it.

    The lock is on the folder itself, so it leaves no file, and it ends with its process.

    Raises:
        OSError: if the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def why_unwritable(path: Path) -> str:
    """Why a file could not be written now, such as `is a folder; name a file`; empty if it could.

    To ask before work whose result is to be written; the folder of the file is made.
    """
    if path.is_dir():
        return "is a folder; name a file"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return ""
    except OSError as error:
        return f"cannot be written: {error.strerror or error}"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by renaming a complete, flushed temporary one over it.

    Raises:
        OSError: if the folder cannot be written to or the disk is full; `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read; baselines are for all.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
