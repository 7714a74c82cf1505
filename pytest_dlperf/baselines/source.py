"""Footing: what a run's measurements are held against, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from pytest_dlperf.config.baseline_source import OF_FILES, BaselineAdvice, advice_of_history

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_dlperf.config.baseline_source import BaselineSource
    from pytest_dlperf.history.entries import Query, Run, Selection
    from pytest_dlperf.history.store import History
    from pytest_dlperf.results.baseline import Baseline, BaselineEntry
    from pytest_dlperf.results.environment import MachineClass


_ELSEWHERE: Final = 50  # sessions that are looked at for other machine classes


@dataclass(frozen=True, slots=True)
class BaselineProvider:
    """Where baselines come from in a run.

    Attributes:
        store: the baselines of this machine class.
        missing: asks why a measurement has none, by its test and name.
        guard: why `--dlperf-update` changes nothing; empty if it does.
        ways: what can be done about baselines, in words.
        basis: the option's value, unless baselines are files; empty for these.
        heading: whose sessions they are, if they are sessions of the history; else empty.
    """

    store: BaselineStore
    missing: Callable[[str, str], str]
    guard: str = ""
    ways: BaselineAdvice = OF_FILES
    basis: str = ""
    heading: str = ""


def baselines_of_files(root: Path, machine: MachineClass, guard: str) -> BaselineProvider:
    """The footing of a run whose baselines are files.

    Args:
        root: pytest's root folder.
        machine: this machine's class.
        guard: why none may be written; empty if they may.
    """
    from pytest_dlperf.baselines.files import FOLDER, BaselineFiles, machines_with

    folder = root / FOLDER

    def missing(test: str, name: str) -> str:
        known = f"no baseline yet on this machine class ({machine.slug})"
        return known + _compared(machine, machines_with(folder, test, name))

    return BaselineProvider(BaselineFiles(folder, machine), missing, guard)


def baselines_of_history(
    basis: BaselineSource,
    run: Run,
    history: Callable[[], History],
    root: Path,
    variables: Mapping[str, str],
) -> BaselineProvider:
    """The footing of a run whose baselines are sessions of the history.

    Args:
        basis: whose sessions.
        run: the present one.
        history: opens it, or raises HistoryError or UsageError each time that it cannot be.
        root: pytest's root folder.
        variables: environment variables, in which CI names branches.

    Raises:
        UsageError: if the branch point is asked for and cannot be told.
    """
    from pytest_dlperf.history.entries import Query

    chosen = _on_branch(basis.branch, run) if basis.branch else _at_point(root, run, variables)
    there = Query(
        branch=chosen.selection.branch,
        commits=chosen.selection.commits or None,
        acceptable=True,
        limit=_ELSEWHERE,
    )

    def missing(test: str, name: str) -> str:
        known = f"{chosen.absence} on this machine class ({run.machine.slug}){chosen.remark}"
        asked = replace(there, test=test, name=name)
        return known + _compared(run.machine, _machines(history(), asked))

    return BaselineProvider(
        store=_Sessions(history, run, chosen.selection),
        missing=missing,
        guard=f"--dlperf-update changes nothing: {chosen.obstacle}" if chosen.obstacle else "",
        ways=advice_of_history(chosen.where, chosen.obstacle),
        basis=str(basis),
        heading=f"baselines: {chosen.heading}",
    )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Whose sessions are the baseline.

    Attributes:
        selection: as the history takes it.
        where: what must be measured to add to them.
        heading: for people.
        absence: that there are none, for people.
        obstacle: why this run adds none; empty if it does.
        remark: what else may be the reason that there are none.
    """

    selection: Selection
    where: str
    heading: str
    absence: str
    obstacle: str
    remark: str = ""


def _on_branch(branch: str, run: Run) -> _Chosen:
    from pytest_dlperf.history.entries import Selection

    here = run.revision.branch
    other = f"this is branch {here}" if here else "no branch is checked out here"
    return _Chosen(
        selection=Selection(branch),
        where=f"branch {branch}",
        heading=f"the last sessions on branch {branch}",
        absence=f"the history has no session of branch {branch}",
        obstacle=_changed(run)
        or ("" if here == branch else f"baselines are those of branch {branch}, and {other}"),
    )


def _at_point(root: Path, run: Run, variables: Mapping[str, str]) -> _Chosen:
    from pytest_dlperf.git import ancestry
    from pytest_dlperf.history.entries import Selection
    from pytest_dlperf.results.baseline import short

    found = ancestry(root, variables)
    point, before = short(found.point), len(found.commits) - 1
    is_one = f"where this left {found.branch}" if found.ahead else "the present commit"
    commits = f"of the {before} commit{'' if before == 1 else 's'} before it"
    outside = f"baselines are those of {found.branch}, and this commit is not on it"
    return _Chosen(
        selection=Selection(None, found.commits),
        where=f"branch {found.branch.removeprefix('origin/')}",
        heading=f"the last sessions of {point}, {is_one}{f', and {commits}' if before else ''}",
        absence=f"the history has no session of {point}, {is_one}"
        f"{f', nor {commits}' if before else ','}",
        obstacle=_changed(run) or (outside if found.ahead else ""),
        remark="; this clone is shallow, so there may be earlier commits" if found.cut else "",
    )


def _changed(run: Run) -> str:
    return "code with uncommitted changes is no baseline" if run.revision.changed else ""


def _compared(machine: MachineClass, others: list[MachineClass]) -> str:
    """What the nearest machine class that has a baseline differs by."""
    nearest = machine.nearest(other for other in others if other.slug != machine.slug)
    if nearest is None:
        return ""
    return f"; there is one for another: {machine.differs(nearest)}"


def _machines(history: History, asked: Query) -> list[MachineClass]:
    """The machine classes that measured what is asked for."""
    found = history.entries(asked)
    return list({entry.run.machine.slug: entry.run.machine for entry in found}.values())


class _Sessions:
    """The history's sessions as a store of baselines, to which each run adds by being recorded."""

    def __init__(self, history: Callable[[], History], run: Run, selection: Selection) -> None:
        self._history = history
        self._run = run
        self._selection = selection

    def load(self, test: str) -> Baseline | None:
        """The baseline of a test, None if there is none.

        Raises:
            UsageError, HistoryError: if the history cannot be used.
        """
        from pytest_dlperf.history.store import HistoryBaselines

        return HistoryBaselines(self._history(), self._run, self._selection).load(test)

    def save(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Nothing: a record knows whether it was accepted, and the historian keeps every record."""


class BaselineStore(Protocol):
    """The baselines of one machine class."""

    def load(self, test: str) -> Baseline | None:
        """The baseline of a test, None if there is none.

        Raises:
            BaselineError, HistoryError: if it cannot be read.
        """

    def save(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Make a measurement the baseline, leaving the test's other measurements as they are.

        Raises:
            BaselineError, HistoryError: if it cannot be written; what was there is kept.
        """
