"""Sources: what a commit, a branch, a run or a file says of each measurement, to be compared."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pytest_dlperf.errors import UsageError
from pytest_dlperf.history.entries import Entry, MeasurementId, Run, baseline_of, entry_of
from pytest_dlperf.report.hints import COMPARABLE, MEASURE_COMPARABLY
from pytest_dlperf.results.baseline import MOST_SESSIONS, Revision
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.environment import Environment, MachineClass
    from pytest_dlperf.results.record import Record


Kind: TypeAlias = Literal["branch", "commit", "run", "file"]

_WIDTH: Final[Mapping[Kind, int]] = {"branch": 2, "commit": 1, "run": 0, "file": 0}
"""Kinds that may hold others have more; of two that overlap the wider one gives way."""

_NO_RUN: Final = "0" * 32  # the key of a run that only a file tells of


@dataclass(frozen=True, slots=True)
class Source:
    """One of the two things that are compared.

    Attributes:
        given: how the user names it.
        kind: what it was taken for.
        entries: its measurements, newest first.
        left_out: what does not count, for people.
    """

    given: str
    kind: Kind
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()


Side: TypeAlias = "Mapping[MeasurementId, BaselineEntry]"
"""What a source says of each measurement: its sessions, the newest last."""


def committed(run: Run) -> bool:
    """Whether a run was of code that git can name: without uncommitted changes."""
    return bool(run.revision.commit) and not run.revision.changed


def sound(source: Source) -> Source:
    """The source without the measurements whose measuring failed, which say nothing of speed.

    Raises:
        UsageError: if nothing is left.
    """
    kept = tuple(entry for entry in source.entries if entry.verdict is not Verdict.INVALID)
    failed = len(source.entries) - len(kept)
    if not failed:
        return source
    said = f"{_counted(failed, 'INVALID measurement')} of {source.given}"
    if not kept:
        raise UsageError(
            f"there is nothing to compare but {said}", "pytest's report says why they are INVALID"
        )
    return dataclasses.replace(source, entries=kept, left_out=(*source.left_out, said))


def apart(base: Source, candidate: Source) -> tuple[Source, Source]:
    """Both without what they have in common: the wider one leaves it to the other.

    So a branch is compared with its latest run as it was before that run.

    Raises:
        UsageError: if they are the same, or if there is nothing but what they have in common.
    """
    # A file does not say which run it is of, but no two runs find exactly the same.
    identity = _figures if "file" in {base.kind, candidate.kind} else _key
    base_keys, keys = (set(map(identity, source.entries)) for source in (base, candidate))
    shared = base_keys & keys
    if not shared:
        return base, candidate
    if _WIDTH[base.kind] == _WIDTH[candidate.kind]:
        raise UsageError(
            f"{base.given} and {candidate.given} are the same {base.kind}",
            f"name two that differ: {COMPARABLE}",
        )
    other, wide = sorted((base, candidate), key=lambda source: _WIDTH[source.kind])
    kept = tuple(e for e in wide.entries if identity(e) not in shared)
    if not kept:
        raise UsageError(
            f"{wide.given} has no session that is not one of {other.given}",
            "name a commit or a branch that was measured in other runs",
        )
    said = f"{_counted(len(shared), 'measurement')} of {wide.given} that {other.given} has too"
    reduced = dataclasses.replace(wide, entries=kept, left_out=(*wide.left_out, said))
    return (reduced, candidate) if wide is base else (base, reduced)


def side_of(source: Source) -> Side:
    """What a source says of each measurement.

    Of a branch the sessions since the last accepted change, of a commit all of them.
    """
    entries_by_place: dict[MeasurementId, list[Entry]] = {}
    for entry in source.entries:
        place = MeasurementId(entry.test, entry.name, entry.run.machine)
        entries_by_place.setdefault(place, []).append(entry)
    side = {}
    for place, entries in entries_by_place.items():
        if source.kind == "branch":
            accepted = baseline_of(entries, MOST_SESSIONS)
        else:
            meant = (dataclasses.replace(entry, renews=False) for entry in entries)
            accepted = baseline_of(meant, len(entries))
        if accepted is not None:
            side[place] = accepted
    return MappingProxyType(side)


def source_of_report(
    given: str,
    records: Iterable[Record],
    machine: MachineClass,
    environment: Environment,
    commit: str,
) -> Source:
    """What `--dlperf-json` wrote, as a source.

    Args:
        given: the file, for people.
        records: of the report.
        machine: that it ran on.
        environment: the software of the run, for records that do not say it.
        commit: that was measured.

    Raises:
        UsageError: if there is nothing in it that could be compared.
    """
    run = Run(_NO_RUN, 0.0, machine, Revision(commit, "", ""))
    entries, unusable = [], 0
    for record in records:
        # The first reports of this schema said it of the run only; of a duel none does.
        known = record.environment or (environment if record.duel is None else None)
        entry = entry_of(dataclasses.replace(record, environment=known), run)
        if entry is None:
            unusable += 1
        else:
            entries.append(entry)
    said = f"{_counted(unusable, 'measurement')} of smoke runs or duels in {given}"
    if not entries:
        raise UsageError(
            f"{given} holds nothing that can be compared" + (f", only {said}" if unusable else ""),
            MEASURE_COMPARABLY,
        )
    return Source(given, "file", tuple(entries), (said,) if unusable else ())


def _key(entry: Entry) -> tuple[object, ...]:
    return entry.run.key, entry.test, entry.name


def _figures(entry: Entry) -> tuple[object, ...]:
    figures = sorted((name, f"{one.value:.6g}") for name, one in entry.found.metrics.items())
    return entry.test, entry.name, *figures


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"
