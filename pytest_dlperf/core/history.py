"""History: what every run measured, whether or not it was accepted, as plain values."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.core.baseline import Accepted, Revision

if TYPE_CHECKING:
    from pytest_dlperf.core.environment import MachineClass
    from pytest_dlperf.core.record import Record
    from pytest_dlperf.core.verdict import Verdict


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
        found: what was measured, as a session; `found.earlier` is empty, and `found.revision` is
            the run's.
        renews: whether it was accepted as a change: sessions before it say nothing of it.
    """

    run: Run
    test: str
    name: str
    verdict: Verdict
    found: Accepted
    renews: bool = False


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
        limit: the most entries, the newest of them.
    """

    test: str | None = None
    name: str | None = None
    machine: str | None = None
    branch: str | None = None
    commits: tuple[str, ...] | None = None
    run: str | None = None
    verdicts: tuple[Verdict, ...] | None = None
    limit: int | None = None


def entry_of(record: Record, run: Run) -> Entry | None:
    """What the history keeps of a record; None for what says nothing of speed.

    Those are smoke runs, and duels, whose figures are of slots.
    """
    if record.quick or record.duel is not None or record.environment is None:
        return None
    measured = record.measurement
    found = Accepted(
        scenario=measured.scenario,
        serving=measured.serving,
        metrics=measured.metrics,
        rows=measured.rows,
        environment=record.environment,
        revision=run.revision,
        slo=measured.slo,
        yardstick=record.yardstick,
    )
    return Entry(run, measured.test, measured.name, record.verdict, found, record.kept == "renew")


def baseline_of(newest_first: tuple[Entry, ...], most: int) -> Accepted | None:
    """The newest entry with those before it as its sessions, back to the last accepted change.

    Sessions under other conditions (scenario, serving, slo) than the newest's are left out.

    Args:
        newest_first: entries of one measurement on one machine class.
        most: so many sessions at the most.
    """
    if not newest_first:
        return None
    newest = newest_first[0].found
    sessions = []
    for entry in newest_first:
        found = entry.found
        if _conditions(found) == _conditions(newest):
            sessions.append(found.newest)
        if entry.renews or len(sessions) == most:
            break
    return dataclasses.replace(newest, earlier=tuple(reversed(sessions[1:])))


def _conditions(found: Accepted) -> tuple[str, str, float | None]:
    return found.scenario, found.serving, found.slo
