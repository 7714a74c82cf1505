"""Where a run's baselines come from, and the messages that depend on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from pytest_dlperf.report.hints import (
    OF_FILES,
    BaselineAdvice,
    advice_of_history,
    update_has_no_effect,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_dlperf.config.baseline_source import BaselineSource
    from pytest_dlperf.history.entries import Query, Run, Selection
    from pytest_dlperf.history.store import History
    from pytest_dlperf.results.baseline import Baseline, BaselineEntry
    from pytest_dlperf.results.environment import MachineClass


_ELSEWHERE: Final = 50  # sessions that are searched for other machine classes


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


@dataclass(frozen=True, slots=True)
class BaselineProvider:
    """Where baselines come from in a run.

    Attributes:
        store: the baselines of this machine class.
        missing: returns why a measurement has none, by its test and name.
        guard: why `--dlperf-update` changes nothing; empty if it does.
        advice: what users can do about baselines.
        source: the option's value; empty for files.
        heading: whose sessions they are; empty for files.
    """

    store: BaselineStore
    missing: Callable[[str, str], str]
    guard: str = ""
    advice: BaselineAdvice = OF_FILES
    source: str = ""
    heading: str = ""


def baselines_of_files(root: Path, machine: MachineClass, guard: str) -> BaselineProvider:
    """Baselines that are files; `guard` says why none may be written, empty if they may."""
    from pytest_dlperf.baselines.files import FOLDER, BaselineFiles, machines_with

    folder = root / FOLDER

    def missing(test: str, name: str) -> str:
        known = f"no baseline yet on this machine class ({machine.slug})"
        return known + _compared(machine, machines_with(folder, test, name))

    return BaselineProvider(BaselineFiles(folder, machine), missing, guard)


def baselines_of_history(
    source: BaselineSource,
    run: Run,
    history: Callable[[], History],
    root: Path,
    variables: Mapping[str, str],
) -> BaselineProvider:
    """Baselines that are sessions of the history.

    Args:
        source: whose sessions.
        run: the present one.
        history: opens it; raises HistoryError or UsageError if it cannot.
        root: pytest's root folder.
        variables: of the environment, in which CI names branches.

    Raises:
        UsageError: if the branch point is the source, and git does not know it.
    """
    from pytest_dlperf.history.entries import Query

    chosen = _on_branch(source.branch, run) if source.branch else _at_point(root, run, variables)
    elsewhere = Query(
        branch=chosen.selection.branch,
        commits=chosen.selection.commits or None,
        acceptable=True,
        limit=_ELSEWHERE,
    )

    def missing(test: str, name: str) -> str:
        known = f"{chosen.absence} on this machine class ({run.machine.slug}){chosen.remark}"
        query = replace(elsewhere, test=test, name=name)
        return known + _compared(run.machine, _machines(history(), query))

    return BaselineProvider(
        store=_Sessions(history, run, chosen.selection),
        missing=missing,
        guard=update_has_no_effect(chosen.obstacle) if chosen.obstacle else "",
        advice=advice_of_history(chosen.where, chosen.obstacle),
        source=str(source),
        heading=f"baselines: {chosen.heading}",
    )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The sessions that are the baseline, and the messages about them.

    Attributes:
        selection: for the history.
        where: the branch to measure on to add to them.
        heading: whose they are.
        absence: that there are none.
        obstacle: why this run adds none; empty if it does.
        remark: another possible reason that there are none.
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
    from pytest_dlperf.results.baseline_session import short

    line = ancestry(root, variables)
    point, before = short(line.point), len(line.commits) - 1
    is_one = f"where this left {line.branch}" if line.ahead else "the present commit"
    commits = f"of the {before} commit{'' if before == 1 else 's'} before it"
    outside = f"baselines are those of {line.branch}, and this commit is not on it"
    return _Chosen(
        selection=Selection(None, line.commits),
        where=f"branch {line.branch.removeprefix('origin/')}",
        heading=f"the last sessions of {point}, {is_one}{f', and {commits}' if before else ''}",
        absence=f"the history has no session of {point}, {is_one}"
        f"{f', nor {commits}' if before else ','}",
        obstacle=_changed(run) or (outside if line.ahead else ""),
        remark="; this clone is shallow, so there may be earlier commits" if line.cut else "",
    )


def _changed(run: Run) -> str:
    return "code with uncommitted changes is no baseline" if run.revision.changed else ""


def _compared(machine: MachineClass, others: list[MachineClass]) -> str:
    """How the nearest machine class that has a baseline differs."""
    nearest = machine.nearest(other for other in others if other.slug != machine.slug)
    if nearest is None:
        return ""
    return f"; there is one for another: {machine.differs(nearest)}"


def _machines(history: History, query: Query) -> list[MachineClass]:
    entries = history.entries(query)
    return list({entry.run.machine.slug: entry.run.machine for entry in entries}.values())


class _Sessions:
    """The history's sessions as a store of baselines; each recorded run adds to it."""

    def __init__(self, history: Callable[[], History], run: Run, selection: Selection) -> None:
        self._history = history
        self._run = run
        self._selection = selection

    def load(self, test: str) -> Baseline | None:
        """The baseline of a test, None if there is none; UsageError if there is no history."""
        from pytest_dlperf.history.store import HistoryBaselines

        return HistoryBaselines(self._history(), self._run, self._selection).load(test)

    def save(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Nothing to do: every record is added to the history, with whether it was accepted."""
