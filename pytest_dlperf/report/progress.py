"""The progress display: one line, shown while a test measures."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"
_EVERY_SECONDS: Final = 0.2
_LEAST_ROOM: Final = 12  # columns; in less, no phase can be read


class NoProgress:
    """Shows nothing."""

    def show(self, phase: str, remaining: float | None) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""


class LineProgress:
    """Writes after what pytest has written on the line, and restores the cursor.

    Args:
        descriptor: file descriptor of the terminal, not captured by pytest; closed by `close`.
        room: number of columns left on the line.
        now: monotonic clock, in seconds.
    """

    def __init__(
        self,
        descriptor: int,
        room: Callable[[], int],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._descriptor = descriptor
        self._room = room
        self._now = now
        self._shown_at = 0.0
        self._phase = ""

    def show(self, phase: str, remaining: float | None) -> None:
        """Show the phase and the seconds left, at most five times a second."""
        now = self._now()
        if phase == self._phase and now - self._shown_at < _EVERY_SECONDS:
            return
        self._shown_at, self._phase = now, phase
        seconds = "" if remaining is None else f", {remaining:.0f} s left"
        room = self._room()
        if room >= _LEAST_ROOM:
            phase = phase[: max(0, room - len(seconds) - 1)]
            self._write(f"{_SAVE} {phase}{seconds}{_ERASE}{_RESTORE}")

    def clear(self) -> None:
        """Erase the line."""
        self._phase = ""
        self._write(f"{_SAVE}{_ERASE}{_RESTORE}")

    def close(self) -> None:
        """Close the file descriptor."""
        os.close(self._descriptor)

    def _write(self, text: str) -> None:
        # A terminal that is gone ends no run.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode(errors="replace"))
