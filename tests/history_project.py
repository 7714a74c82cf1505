"""A git repository with commits, and a history of what was measured of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from builders import estimate
from entries import TEST, make_entry, make_run
from git_repositories import git

from pytest_dlperf.history.store import open_history
from pytest_dlperf.history.url import default_url

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_dlperf.history.entries import Entry


class HistoryProject:
    """A project with a history.

    Args:
        root: its folder, empty.
        commits: number of commits; without any it is no repository.
    """

    def __init__(self, root: Path, commits: int = 0) -> None:
        self.root = root
        self.url = default_url(root)
        self.commits: list[str] = []
        self._runs = 0
        if commits:
            git(root, "init", "-q", "-b", "main")
        for number in range(commits):
            git(root, "commit", "-q", "--allow-empty", "-m", str(number))
            self.commits.append(git(root, "rev-parse", "HEAD").strip())

    def keep(self, entries: Iterable[Entry]) -> None:
        """Add entries to the history."""
        history = open_history(self.url)
        try:
            for entry in entries:
                history.add(entry)
        finally:
            history.close()

    def measure(
        self,
        throughput: float,
        *,
        commit: str = "",
        branch: str = "main",
        sessions: int = 1,
        tests: Iterable[str] = (TEST,),
        **fields: Any,  # noqa: ANN401 - any field of an entry
    ) -> None:
        """Add runs with a noise of 1 %, each after all others."""
        random = np.random.default_rng(self._runs)
        entries = []
        for _ in range(sessions):
            self._runs += 1
            run = make_run(self._runs, commit=commit, branch=branch)
            if "machine" in fields:
                run = dataclasses.replace(run, machine=fields["machine"])
            value = throughput * float(np.exp(random.normal(0, 0.01)))
            metrics = {"throughput": estimate(value), "p50": estimate(1 / value)}
            given = {name: field for name, field in fields.items() if name != "machine"}
            entries += [make_entry(metrics, run=run, test=test, **given) for test in tests]
        self.keep(entries)
