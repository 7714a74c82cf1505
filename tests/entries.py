"""Entries of a history that many tests need, made up from a few numbers."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from builders import MACHINE, make_accepted

from pytest_dlperf.history.entries import Entry, Run
from pytest_dlperf.results.baseline_session import Revision
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.results.environment import MachineClass
    from pytest_dlperf.statistics.estimate import Estimate

TEST = "tests/test_model.py::test_fast"
_DAY = 86_400.0
_BEGAN = 1_764_000_000.0


def commit_of(number: int) -> str:
    """The full hash of a made-up commit."""
    return hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()


def make_run(
    number: int = 0,
    commit: str | None = None,
    branch: str = "main",
    *,
    machine: MachineClass = MACHINE,
) -> Run:
    """A run on the day of its number, by default of a commit of its own."""
    began = _BEGAN + number * _DAY
    date = datetime.fromtimestamp(began, tz=UTC).date().isoformat()
    revision = Revision(commit_of(number) if commit is None else commit, branch, date)
    return Run(f"{number:032x}", began, machine, revision)


def make_entry(  # noqa: PLR0913 - what a test may care about
    metrics: Mapping[str, Estimate] | None = None,
    *,
    run: Run | None = None,
    test: str = TEST,
    name: str = "",
    verdict: Verdict = Verdict.PASS,
    renews: bool = False,
    noise: str = "",
    **fields: Any,  # noqa: ANN401 - any field of its result
) -> Entry:
    """An entry of a run."""
    run = run or make_run()
    result = make_accepted(metrics, revision=run.revision, **fields)
    return Entry(run, test, name, verdict, result, renews, noise)
