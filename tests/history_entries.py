"""Runs and entries of a history, each from a few of its fields."""

from __future__ import annotations

import dataclasses
from typing import Any

from builders import MACHINE, make_accepted

from pytest_dlperf.history.entries import Entry, Run
from pytest_dlperf.results.baseline import Revision
from pytest_dlperf.results.verdict import Verdict

TEST = "tests/test_model.py::test_fast"


OTHER = dataclasses.replace(MACHINE, cores=64)


def make_run(number: int, commit: str = "c", branch: str = "main", **fields: Any) -> Run:  # noqa: ANN401 - any field
    """A run that began at its number."""
    revision = Revision(commit, branch, "2026-11-23")
    given = {"key": f"{number:032x}", "began": float(number), "machine": MACHINE}
    return Run(**{**given, **fields}, revision=revision)


def make_entry(run: Run, test: str = TEST, name: str = "", **fields: Any) -> Entry:  # noqa: ANN401 - any field
    """An entry of a run; its yardstick is when the run began, plus one."""
    found = make_accepted(revision=run.revision, yardstick=run.began + 1)
    given = {"verdict": Verdict.PASS, "found": found}
    return Entry(run, test, name, **{**given, **fields})
