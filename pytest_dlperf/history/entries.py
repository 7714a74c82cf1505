"""History: what every run measured, whether or not it was accepted, as plain values."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.results.baseline import accept
from pytest_dlperf.results.usage import noise_note
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.results.baseline import BaselineEntry, Revision
    from pytest_dlperf.results.environment import MachineClass
    from pytest_dlperf.results.record import Record

SOUND: Final = (Verdict.PASS, Verdict.NEW, Verdict.INCONCLUSIVE)
"""Verdicts of what nothing speaks against."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pytest.

    Attributes:
        key: of this run and no other: 32 hexadecimal digits.
        began: seconds since 1970 in UTC.
        machine: the class of the machine that it ran on.
        revision: the code, and the day.
    """

    key: str
    began: float
    machine: MachineClass
    revision: Revision

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{32}", self.key):
            raise ValueError(f"key {self.key!r:.80}: expected 32 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class Entry:
    """One measurement of one run. A run has at most one of each test and name.

    Attributes:
        run: when, where and of what code.
        test: pytest's node id.
        name: tells several measurements of one test apart; may be empty.
        verdict: the gravest of its budgets.
        found: what was measured, as a session; with one session, whose revision is the run's.
        renews: whether it was accepted as a change: sessions before it say nothing of it.
        unquiet: what else the machine did, if that was too much for speeds to be judged.
    """

    run: Run
    test: str
    name: str
    verdict: Verdict
    found: BaselineEntry
    renews: bool = False
    unquiet: str = ""

    @property
    def acceptable(self) -> bool:
        """Whether later runs may be compared with it.

        Code with uncommitted changes is what nobody else has, and what broke a budget, or had not
        the machine for itself, is no measure; but what was accepted as a change was meant.
        """
        sound = self.verdict in SOUND and not self.unquiet
        return self.renews or (sound and not self.run.revision.changed)


@dataclass(frozen=True, slots=True)
class MeasurementId:
    """Which measurement on which machine class.

    Attributes:
        test: pytest's node id.
        name: of the measurement; may be empty.
        machine: the machine class.
    """

    test: str
    name: str
    machine: MachineClass


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose sessions are the baseline: those of a branch, or those of some commits.

    Attributes:
        branch: name; None if commits are given.
        commits: full hashes, the nearest ancestor first; empty if a branch is given.
    """

    branch: str | None
    commits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.branch is not None and self.commits:
            raise ValueError(f"branch {self.branch!r:.80} and commits: expected one of them")


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries are asked for; None allows all.

    Attributes:
        test: node id.
        name: of the measurement.
        machine: the machine class, as its slug.
        branch: the branch that was measured.
        commits: full hashes, one of which was measured, without changes.
        run: key of the run.
        verdicts: one of which it was given.
        acceptable: whether only those are asked for that later runs may be compared with.
        limit: the most entries, the newest of them.
    """

    test: str | None = None
    name: str | None = None
    machine: str | None = None
    branch: str | None = None
    commits: tuple[str, ...] | None = None
    run: str | None = None
    verdicts: tuple[Verdict, ...] | None = None
    acceptable: bool = False
    limit: int | None = None


def entry_of(record: Record, run: Run) -> Entry | None:
    """What the history keeps of a record; None for what says nothing of speed.

    Those are smoke runs, and duels, whose figures are of slots, so that no environment goes with
    them. One whose doubts were settled by a duel is an ordinary measurement.
    """
    if record.quick or record.environment is None:
        return None
    measured = record.measurement
    found = accept(measured, record.environment, run.revision, record.yardstick)
    # What it may be an anchor of, the store knows.
    found = dataclasses.replace(found, anchor=None)
    return Entry(
        run=run,
        test=measured.test,
        name=measured.name,
        verdict=Verdict.INVALID if measured.invalid else record.verdict,
        found=found,
        renews=record.kept == "renew",
        unquiet=noise_note(measured.usage) if measured.usage else "",
    )


def baseline_of(newest_first: Iterable[Entry], most: int) -> BaselineEntry | None:
    """The newest entry with those before it as its sessions, back to the last accepted change.

    Sessions under other conditions (scenario, serving, slo) than the newest's are left out.

    Args:
        newest_first: entries of one measurement on one machine class; taken no further than they
            are needed.
        most: so many sessions at the most.
    """
    newest: BaselineEntry | None = None
    sessions = []
    for entry in newest_first:
        newest = newest or entry.found
        if entry.found.conditions == newest.conditions:
            sessions.append(entry.found.newest)
        if entry.renews or len(sessions) == most:
            break
    if newest is None:
        return None
    return dataclasses.replace(newest, sessions=tuple(reversed(sessions)))
