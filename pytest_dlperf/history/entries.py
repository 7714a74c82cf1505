"""Runs, entries and queries of the history, as plain values."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf.results.baseline import accept
from pytest_dlperf.results.measurement import title_of
from pytest_dlperf.results.usage import noise_note
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.baseline_session import Revision
    from pytest_dlperf.results.environment import MachineClass
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.statistics.estimate import Estimate

SOUND: Final = (Verdict.PASS, Verdict.NEW, Verdict.INCONCLUSIVE)
"""Verdicts of measurements that later runs may be compared with."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pytest.

    Attributes:
        key: unique: 32 hexadecimal digits.
        began: seconds since 1970 in UTC.
        machine: machine class.
        revision: code and date.
    """

    key: str
    began: float
    machine: MachineClass
    revision: Revision

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{32}", self.key):
            raise ValueError(f"key {self.key!r:.80}: expected 32 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class MeasurementId:
    """What identifies a measurement over all runs: test, name (may be empty) and machine class."""

    test: str
    name: str
    machine: MachineClass

    @property
    def title(self) -> str:
        """Test and name as shown to users."""
        return title_of(self.test, self.name)


@dataclass(frozen=True, slots=True)
class Entry:
    """One measurement of one run. A run has at most one of each test and name.

    Attributes:
        run: the run.
        test: pytest's node id.
        name: name of the measurement within its test; may be empty.
        verdict: the worst verdict of its budgets.
        result: what was measured: one session, whose revision is the run's.
        renews: whether it was accepted as a change, which makes it the first session of a baseline.
        noise: what kept speeds from being judged: other work on the machine, or a debugger that
            could not be suspended; empty if nothing did.
        unbounded: metrics that it was too short to bound from above, which it is not compared by.
        suspected: whether it seems to have lost speed, which was not settled.
    """

    run: Run
    test: str
    name: str
    verdict: Verdict
    result: BaselineEntry
    renews: bool = False
    noise: str = ""
    unbounded: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))
    suspected: bool = False

    @property
    def key(self) -> MeasurementId:
        """Which measurement it is of."""
        return MeasurementId(self.test, self.name, self.run.machine)

    @property
    def acceptable(self) -> bool:
        """Whether later runs may be compared with it.

        Not if it broke a budget or is suspected of it, shared the machine with other work, or
        measured uncommitted changes, unless it was accepted as a change.
        """
        sound = self.verdict in SOUND and not self.noise and not self.suspected
        return self.renews or (sound and not self.run.revision.changed)


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose sessions are the baseline: those of a branch or those of commits.

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
    """A filter of entries; None matches all.

    Attributes:
        test: node id.
        name: name of the measurement.
        machine: slug of the machine class.
        branch: branch of the run.
        commits: full hashes; one with uncommitted changes has a `+`.
        run: key of the run.
        verdicts: any of these.
        acceptable: only entries that later runs may be compared with.
        limit: at most this many, the newest.
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
    """The entry of a record; None for smoke runs and duels, which are not recorded.

    A duel's record has no environment, since its metrics are those of slots. A measurement that
    was settled by a duel has one, and is recorded.
    """
    if record.quick or record.environment is None:
        return None
    measured = record.measurement
    result = accept(measured, record.environment, run.revision, record.yardstick)
    return Entry(
        run=run,
        test=measured.test,
        name=measured.name,
        verdict=Verdict.INVALID if measured.invalid else record.verdict,
        result=dataclasses.replace(result, anchor=None),  # the history has no anchors
        renews=record.kept == "renew",
        noise=record.environment.distortion
        or (noise_note(measured.usage) if measured.usage else ""),
        unbounded=MappingProxyType(
            {
                # A rough upper end, of which nothing is sure, is no end to compare with.
                name: dataclasses.replace(it, high=math.inf)
                for name, it in measured.metrics.items()
                if name in measured.unbounded
            }
        ),
        suspected=any(
            judgement.suspected and judgement.verdict is Verdict.INCONCLUSIVE
            for judgement in record.judgements
        ),
    )


def condition_changes(
    old: BaselineEntry, new: BaselineEntry
) -> Iterator[tuple[str, object, object]]:
    """The conditions that differ (scenario, serving, slo): name, old and new value."""
    names = ("scenario", "serving", "slo")
    for name, before, after in zip(names, old.conditions, new.conditions, strict=True):
        if before != after:
            yield name, before, after


def baseline_of(newest_first: Iterable[Entry], most: int) -> BaselineEntry | None:
    """The baseline that entries make: their sessions since the last accepted change.

    Sessions under other conditions (scenario, serving, slo) than the newest's are left out.

    Args:
        newest_first: entries of one measurement on one machine class; consumed only as far as
            needed.
        most: maximum number of sessions.
    """
    newest: BaselineEntry | None = None
    sessions = []
    for entry in newest_first:
        newest = newest or entry.result
        if entry.result.conditions == newest.conditions:
            sessions.append(entry.result.newest)
        if entry.renews or len(sessions) == most:
            break
    if newest is None:
        return None
    return dataclasses.replace(newest, sessions=tuple(reversed(sessions)))
