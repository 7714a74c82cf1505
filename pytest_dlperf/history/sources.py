"""The two sides of a comparison: the sessions of a commit, a branch, a run or a file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pytest_dlperf.errors import UsageError
from pytest_dlperf.history.entries import Entry, MeasurementId, Run, baseline_of, entry_of
from pytest_dlperf.report.hints import COMPARABLE, MEASURE_COMPARABLY
from pytest_dlperf.results.baseline import MOST_SESSIONS
from pytest_dlperf.results.baseline_session import Revision
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.environment import Environment, MachineClass
    from pytest_dlperf.results.record import Record


Kind: TypeAlias = Literal["branch", "commit", "run", "file"]

_WIDTH: Final[Mapping[Kind, int]] = {"branch": 2, "commit": 1, "run": 0, "file": 0}
"""Of two sources that overlap, the wider one loses what they share."""

_NO_RUN: Final = "0" * 32  # key of a file's run, since a report has none


@dataclass(frozen=True, slots=True)
class Source:
    """One side of a comparison.

    Attributes:
        given: its name as the user gave it.
        kind: what the name stands for.
        entries: its measurements, newest first.
        left_out: messages on measurements that were left out.
    """

    given: str
    kind: Kind
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()


Side: TypeAlias = "Mapping[MeasurementId, BaselineEntry]"
"""The sessions of a source by measurement."""


def committed(run: Run) -> bool:
    """Whether a run measured a commit, without uncommitted changes."""
    return bool(run.revision.commit) and not run.revision.changed


def without_invalid(source: Source) -> Source:
    """The source without INVALID measurements.

    Raises:
        UsageError: if no measurement is left.
    """
    kept = tuple(entry for entry in source.entries if entry.verdict is not Verdict.INVALID)
    failed = len(source.entries) - len(kept)
    if not failed:
        return source
    left_out = f"{_counted(failed, 'INVALID measurement')} of {source.given}"
    if not kept:
        raise UsageError(
            f"there is nothing to compare but {left_out}",
            "pytest's report says why they are INVALID",
        )
    return _reduced(source, kept, left_out)


def without_noisy(source: Source) -> Source:
    """The source without measurements whose speeds mean nothing, where it has others."""
    quiet = {entry.key for entry in source.entries if not entry.noise}
    kept = tuple(entry for entry in source.entries if not entry.noise or entry.key not in quiet)
    noisy = len(source.entries) - len(kept)
    if not noisy:
        return source
    left_out = f"{_counted(noisy, 'measurement')} of {source.given} on a machine that was not quiet"
    if any(entry.result.environment.distortion for entry in source.entries):
        left_out += ", or under a debugger"
    return _reduced(source, kept, left_out)


def noise_of(*sources: Source) -> Mapping[MeasurementId, str]:
    """Why speeds of a measurement cannot be compared, where a machine was not quiet."""
    return {
        entry.key: f"{entry.noise} ({source.given})"
        for source in sources
        for entry in source.entries
        if entry.noise
    }


def unbounded_in(source: Source) -> Mapping[MeasurementId, frozenset[str]]:
    """By measurement, the metrics that some session was too short to bound from above."""
    names: dict[MeasurementId, frozenset[str]] = {}
    for entry in source.entries:
        if entry.unbounded:
            names[entry.key] = names.get(entry.key, frozenset()) | entry.unbounded.keys()
    return names


def without_shared(base: Source, candidate: Source) -> tuple[Source, Source]:
    """Both sides, the wider one without the measurements that the other has too.

    So a branch is compared with its latest run as it was before that run.

    Raises:
        UsageError: if both are the same, or the wider one has no other measurement.
    """
    # A file does not name its run, but no two runs measure exactly the same values.
    identity = _values if "file" in {base.kind, candidate.kind} else _key
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
    kept = tuple(entry for entry in wide.entries if identity(entry) not in shared)
    if not kept:
        raise UsageError(
            f"{wide.given} has no session that is not one of {other.given}",
            "name a commit or a branch that was measured in other runs",
        )
    left_out = f"{_counted(len(shared), 'measurement')} of {wide.given} that {other.given} has too"
    reduced = _reduced(wide, kept, left_out)
    return (reduced, candidate) if wide is base else (base, reduced)


def _reduced(source: Source, kept: tuple[Entry, ...], left_out: str) -> Source:
    return dataclasses.replace(source, entries=kept, left_out=(*source.left_out, left_out))


def side_of(source: Source) -> Side:
    """The sessions of each measurement: of a branch those since the last accepted change."""
    entries_by_key: dict[MeasurementId, list[Entry]] = {}
    for entry in source.entries:
        entries_by_key.setdefault(entry.key, []).append(entry)
    side = {}
    for key, entries in entries_by_key.items():
        if source.kind == "branch":
            accepted = baseline_of(entries, MOST_SESSIONS)
        else:
            all_sessions = (dataclasses.replace(entry, renews=False) for entry in entries)
            accepted = baseline_of(all_sessions, len(entries))
        if accepted is not None:
            side[key] = accepted
    return MappingProxyType(side)


def source_of_report(
    given: str,
    records: Iterable[Record],
    machine: MachineClass,
    environment: Environment,
    commit: str,
) -> Source:
    """The source of a report that `--dlperf-json` wrote.

    Args:
        given: path of the report, for messages.
        records: the report's.
        machine: machine class of the run.
        environment: software of the run, for records without their own.
        commit: commit of the run.

    Raises:
        UsageError: if no record can be compared.
    """
    run = Run(_NO_RUN, 0.0, machine, Revision(commit, "", ""))
    entries, unusable = [], 0
    for record in records:
        # The first reports of this schema have it for the run only; a duel's record has none.
        known = record.environment or (environment if record.duel is None else None)
        entry = entry_of(dataclasses.replace(record, environment=known), run)
        if entry is None:
            unusable += 1
        else:
            entries.append(entry)
    left_out = f"{_counted(unusable, 'measurement')} of smoke runs or duels in {given}"
    if not entries:
        raise UsageError(
            f"{given} holds nothing that can be compared"
            + (f", only {left_out}" if unusable else ""),
            MEASURE_COMPARABLY,
        )
    return Source(given, "file", tuple(entries), (left_out,) if unusable else ())


def _key(entry: Entry) -> tuple[object, ...]:
    return entry.run.key, entry.test, entry.name


def _values(entry: Entry) -> tuple[object, ...]:
    metrics = entry.result.metrics
    return (
        entry.test,
        entry.name,
        *((name, f"{metrics[name].value:.6g}") for name in sorted(metrics)),
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"
