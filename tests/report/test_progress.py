"""The progress line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.report.progress import LineProgress

if TYPE_CHECKING:
    from collections.abc import Iterator

SAVE, RESTORE, ERASE = "\x1b7", "\x1b8", "\x1b[K"


class Terminal:
    """A pipe instead of a terminal, and a clock."""

    def __init__(self, room: int) -> None:
        self._read, write = os.pipe()
        self.now = 0.0
        self.progress = LineProgress(write, lambda: room, lambda: self.now)

    def written(self) -> str:
        """The text since the last call."""
        os.set_blocking(self._read, False)
        try:
            return os.read(self._read, 1 << 16).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        """Close both ends."""
        self.progress.close()
        os.close(self._read)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal with 30 columns left."""
    terminal = Terminal(30)
    yield terminal
    terminal.close()


def test_the_cursor_is_restored(terminal: Terminal) -> None:
    """What pytest writes next follows what it wrote before."""
    terminal.progress.show("warming up", None)

    assert terminal.written() == f"{SAVE} warming up{ERASE}{RESTORE}"


def test_the_seconds_left_are_shown(terminal: Terminal) -> None:
    """A countdown in whole seconds."""
    terminal.progress.show("measuring", 2.6)

    assert " measuring, 3 s left" in terminal.written()


def test_a_long_phase_leaves_room_for_the_seconds(terminal: Terminal) -> None:
    """The text is not longer than the rest of the line."""
    terminal.progress.show("a very long name of a phase that does not fit", 2.0)

    line = terminal.written().removeprefix(SAVE).removesuffix(f"{ERASE}{RESTORE}")
    assert len(line) <= 30
    assert line.endswith(", 2 s left")


def test_it_is_not_written_more_often_than_five_times_a_second(terminal: Terminal) -> None:
    """Another phase is shown at once."""
    terminal.progress.show("one", 2.0)
    terminal.written()

    terminal.now = 0.1
    terminal.progress.show("one", 1.9)
    assert terminal.written() == ""

    terminal.progress.show("two", 1.9)
    assert "two" in terminal.written()

    terminal.now = 0.4
    terminal.progress.show("two", 1.6)
    assert "two" in terminal.written()


def test_clear(terminal: Terminal) -> None:
    """The line is as pytest left it."""
    terminal.progress.show("one", None)
    terminal.written()

    terminal.progress.clear()

    assert terminal.written() == f"{SAVE}{ERASE}{RESTORE}"


def test_a_line_without_room() -> None:
    """Nothing is written."""
    narrow = Terminal(5)
    narrow.progress.show("one", None)

    assert narrow.written() == ""
    narrow.close()


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    """A convenience that fails is no error."""
    read, write = os.pipe()
    progress = LineProgress(write, lambda: 30, lambda: 0.0)
    os.close(read)

    progress.show("warming up", None)
    progress.clear()
    progress.close()
