"""Shared by the tests of all stores of baselines and the processes that they kill."""

from __future__ import annotations

import itertools
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from builders import MACHINE, estimate, make_accepted, numbered

from pytest_dlperf.baselines.files import BaselineFiles
from pytest_dlperf.history.entries import Run, Selection
from pytest_dlperf.history.store import HistoryBaselines, open_history
from pytest_dlperf.results.baseline_session import Revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.baselines.source import BaselineStore
    from pytest_dlperf.results.baseline import Baseline, BaselineEntry
    from pytest_dlperf.results.environment import MachineClass

TEST: Final = "tests/test_model.py::test_fast[a/b]"
REVISION: Final = Revision("0123456789abcdef" * 2 + "01234567", "main", "2026-11-23")


class Shelf(Protocol):
    """A place at which stores of one kind are opened."""

    def store(self, machine: MachineClass, revision: Revision) -> BaselineStore:
        """A store as one run of pytest on a machine and of some code has it."""

    def close(self) -> None:
        """Let go of the place."""


class FilesShelf:
    """Baseline files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def store(self, machine: MachineClass, revision: Revision) -> BaselineFiles:
        """The files of a machine class."""
        del revision
        return BaselineFiles(self._root, machine)

    def close(self) -> None:
        """There is nothing open."""


class HistoryShelf:
    """A history, whose baselines are those of the branch that is measured."""

    def __init__(self, url: str) -> None:
        self.history = open_history(url)

    def store(self, machine: MachineClass, revision: Revision) -> HistoryBaselines:
        """The baselines as a new run has them."""
        run = Run(uuid.uuid4().hex, time.time(), machine, revision)
        return HistoryBaselines(self.history, run, Selection(revision.branch))

    def close(self) -> None:
        """Close the database."""
        self.history.close()


def open_shelf(where: str) -> Shelf:
    """Open a place: `files:FOLDER`, or the URL of a history."""
    kind, _, rest = where.partition(":")
    return FilesShelf(Path(rest)) if kind == "files" else HistoryShelf(where)


def of_name(stored: Baseline | None, name: str) -> BaselineEntry | None:
    """The stored entry of a name."""
    return stored.accepted.get(name) if stored else None


def append(shelf: Shelf, number: int, commit: str = REVISION.commit) -> None:
    """Store a session of this number after those that are there."""
    revision = Revision(commit, REVISION.branch, REVISION.date)
    store = shelf.store(MACHINE, revision)
    before = of_name(store.load(TEST), "")
    session = make_accepted(
        {"throughput": estimate(1000.0, 0.01)},
        revision=revision,
        yardstick=float(number),
        earlier=before.sessions if before else (),
    )
    store.save(TEST, "", session)


def numbers(shelf: Shelf) -> list[int]:
    """The numbers of the sessions that are stored, oldest first."""
    entry = of_name(shelf.store(MACHINE, REVISION).load(TEST), "")
    return list(map(int, numbered(entry.sessions))) if entry else []


def appended(shelf: Shelf) -> Iterator[int]:
    """Append sessions without end; the number of each when it is stored."""
    for number in itertools.count(max(numbers(shelf), default=0) + 1):
        append(shelf, number)
        yield number
