"""A project with a history and baselines of a machine class, for the commands that read them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from typing import TYPE_CHECKING

from builders import MACHINE, REVISION, continued, estimate, make_accepted

from pytest_dlperf.baselines.files import FOLDER, BaselineFiles
from pytest_dlperf.history.entries import Entry, Run
from pytest_dlperf.history.store import open_history
from pytest_dlperf.history.url import default_url
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_dlperf.results.baseline import BaselineEntry

TEST = "tests/test_model.py::test_fast"


class Terminal(io.StringIO):
    """A terminal on which these lines are typed."""

    def isatty(self) -> bool:
        """True."""
        return True


class Project:
    """One on disk.

    Args:
        root: its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = BaselineFiles(root / FOLDER, MACHINE)
        self._runs = 0

    def accept(self, entry: BaselineEntry, test: str = TEST, name: str = "") -> None:
        """Make an entry the baseline, as a run with `--dlperf-update=all` does."""
        self.files.save(test, name, dataclasses.replace(entry, anchor=entry.sessions[0]))

    def baseline(self, test: str = TEST, name: str = "") -> BaselineEntry | None:
        """The accepted entry."""
        baseline = self.files.load(test)
        return baseline.accepted.get(name) if baseline else None

    def ran(
        self,
        entry: BaselineEntry,
        verdict: Verdict = Verdict.PASS,
        tests: tuple[str, ...] = (TEST,),
        name: str = "",
    ) -> None:
        """Record a run, later than earlier ones, in which each of these tests measured the same."""
        self._runs += 1
        run = Run(f"{self._runs:032x}", 1e9 + self._runs, MACHINE, entry.revision)
        with contextlib.closing(open_history(default_url(self.root))) as history:
            for test in tests:
                history.add(Entry(run, test, name, verdict, entry))


def session(throughput: float, commit: str = "c0ffee00", date: str = "2026-11-24") -> BaselineEntry:
    """An entry of one session."""
    revision = dataclasses.replace(REVISION, commit=commit, date=date)
    return make_accepted({"throughput": estimate(throughput, 0.005)}, revision=revision)


OLD = continued(
    [session(1000.0 + n, date="2026-11-19").newest for n in range(9)],
    session(1010.0, "01dc0de0", "2026-11-20"),
)
"""A grown baseline of about 1,000/s."""
