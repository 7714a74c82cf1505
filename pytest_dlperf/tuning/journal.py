"""Journal: the trials of a study, one line each, so that an interrupted run can go on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_VERSION: Final = 1


class Journal:
    """An append-only file; each line is on the disk before the next trial begins.

    Several processes may add to it. A journal only saves time, so if it cannot be used, that is a
    warning and no error: `warn` takes one sentence.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._given_up = False

    def lines(self) -> tuple[dict[str, Any], ...]:
        """The lines so far; empty without a readable file."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            self._give_up("read", error)
            return ()
        return tuple(_readable(content))

    def add(self, fields: Mapping[str, object]) -> None:
        """Add a line of plain values, and sync it to the disk."""
        if self._given_up:
            return
        text = json.dumps({"version": _VERSION, **fields}, allow_nan=False)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    # Half a line of a killed process must not spoil this one.
                    text = text if file.read(1) == b"\n" else f"\n{text}"
                file.write(f"{text}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._give_up("written", error)

    def forget(self) -> None:
        """Remove the file."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._give_up("removed", error)

    def _give_up(self, what: str, error: OSError) -> None:
        if not self._given_up:
            self._given_up = True
            reason = error.strerror or error
            self._warn(f"the trials are not kept: {self._path} cannot be {what}: {reason}")


def _readable(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        with contextlib.suppress(ValueError):
            fields = json.loads(line)  # half a line, of a process killed while writing, raises
            if isinstance(fields, dict) and fields.pop("version", None) == _VERSION:
                yield fields
