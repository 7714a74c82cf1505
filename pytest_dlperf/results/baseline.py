"""Baseline: the accepted measurements of one test on one machine class, and their JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.metrics import definitions_of, metric_named, read_definitions
from pytest_dlperf.results.baseline_session import BaselineSession, Revision
from pytest_dlperf.results.codec import (
    as_list,
    as_number,
    as_object,
    as_text,
    at,
    rounded,
)
from pytest_dlperf.results.row_evidence import Rows, RowScores, fingerprints
from pytest_dlperf.results.series import block_summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.results.environment import Environment, MachineClass
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.statistics.pace import Pace


SCHEMA: Final = 3
"""Version of the baseline files that are written and read; no other one is."""

MOST_SESSIONS: Final = 30
"""The most accepted sessions that are kept of one measurement; older code predicts less."""


@dataclass(frozen=True, slots=True)
class BaselineEntry:
    """The accepted sessions of one measurement since the last accepted change.

    Attributes:
        scenario: the traffic, as text; the same in all sessions, as are serving and slo.
        serving: batching and replicas, as text.
        sessions: oldest first, at least one. The newest is what relative budgets are read against.
        rows: the newest session's evidence for accuracy, if the data had labels.
        slo: seconds within which an answer counted towards goodput.
        anchor: the session that stays while sessions come and go, so that many small changes add
            up visibly; one of the sessions, or older than they are. None if none is known.
        changes: how many changes were accepted since the anchor.
        seeds: the newest session's accuracy from each seed, of trainings from several.
        scores: the newest session's evidence for users' metrics, if it has any.
    """

    scenario: str
    serving: str
    sessions: tuple[BaselineSession, ...]
    rows: Rows | None = None
    slo: float | None = None
    anchor: BaselineSession | None = None
    changes: int = 0
    seeds: tuple[float, ...] = ()
    scores: RowScores | None = None

    def __post_init__(self) -> None:
        if not self.sessions:
            raise ValueError("a baseline has at least one session")

    @property
    def newest(self) -> BaselineSession:
        """The newest session."""
        return self.sessions[-1]

    @property
    def metrics(self) -> Mapping[str, Estimate]:
        """What the newest session measured."""
        return self.newest.metrics

    @property
    def environment(self) -> Environment:
        """The software of the newest session."""
        return self.newest.environment

    @property
    def revision(self) -> Revision:
        """The code of the newest session."""
        return self.newest.revision

    def repeats_answers(self, metric: str) -> bool:
        """Whether several sessions gave the same answers to every row, so that models are fixed."""
        answers = [session.answers.get(metric) for session in self.sessions]
        return len(answers) > 1 and answers[0] is not None and len(set(answers)) == 1

    @property
    def conditions(self) -> tuple[str, str, float | None]:
        """What must be equal for sessions to be compared: scenario, serving, slo."""
        return self.scenario, self.serving, self.slo

    def following(self, stored: BaselineEntry | None) -> BaselineEntry:
        """This entry as it follows the stored one: as its next session, or as a change.

        An entry with several sessions is a next session. It follows what is stored by now, which
        another run may have written meanwhile, and keeps the stored anchor. One with a single
        session is a change; it keeps the anchor if the two can be compared.
        """
        if stored is None or stored.newest == self.newest:
            return self
        if len(self.sessions) > 1:
            return dataclasses.replace(
                self,
                sessions=last_sessions(*stored.sessions, self.newest),
                anchor=stored.anchor or self.anchor,
                changes=stored.changes,
            )
        if stored.anchor is None or not self.comparable(stored):
            return self
        return dataclasses.replace(self, anchor=stored.anchor, changes=stored.changes + 1)

    def comparable(self, stored: BaselineEntry) -> bool:
        """Whether this was measured under the conditions of the stored entry and its anchor.

        Scenario, serving, slo, thread settings and precision must be the same.
        """
        environments = (stored.environment, (stored.anchor or stored.newest).environment)
        same = not any(self.environment.changes(other)["blocking"] for other in environments)
        return same and self.conditions == stored.conditions

    def anchored(self) -> BaselineEntry:
        """The same sessions, with the newest as the anchor."""
        return dataclasses.replace(self, anchor=self.newest, changes=0)

    def to_json(self) -> dict[str, object]:
        """Plain values in a stable order."""
        # The anchor is a mark on one of the sessions, or has a place of its own.
        is_session = self.anchor in self.sessions and not self.changes
        marked = self.sessions.index(self.anchor) if self.anchor and is_session else None
        older = None if is_session else self.anchor
        written = (*self.sessions, *((older,) if older else ()))
        definitions = definitions_of(name for session in written for name in session.metrics)
        previous = (None, *(session.environment for session in self.sessions[:-1]))
        return {
            "scenario": self.scenario,
            "serving": self.serving,
            "slo": self.slo,
            "units": {name: metric_named(name).unit for name in self.metrics},
            **({"definitions": definitions} if definitions else {}),
            "rows": self.rows.to_json() if self.rows else None,
            **({"scores": self.scores.to_json()} if self.scores else {}),
            **({"seeds": [rounded(accuracy) for accuracy in self.seeds]} if self.seeds else {}),
            **({"anchor": {"changes": self.changes, **older.to_json(None)}} if older else {}),
            "sessions": [
                {**({"anchor": True} if number == marked else {}), **session.to_json(environment)}
                for number, (session, environment) in enumerate(
                    zip(self.sessions, previous, strict=True)
                )
            ],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> BaselineEntry:
        """The inverse of `to_json`."""
        value = as_object(value)
        with at("definitions"):
            redefined = read_definitions(as_object(value.get("definitions", {})))
        sessions: list[BaselineSession] = []
        anchors: list[BaselineSession] = []
        changes = 0
        with at("sessions"):
            written = as_list(value["sessions"])
            if not 0 < len(written) <= MOST_SESSIONS:
                raise ValueError(f"{len(written)} sessions: expected 1 to {MOST_SESSIONS}")
            for number, session in enumerate(written):
                previous = sessions[-1].environment if sessions else None
                with at(number):
                    sessions.append(BaselineSession.from_json(session, previous, redefined))
                    if _is_anchor(session):
                        anchors.append(sessions[-1])
        if "anchor" in value:
            with at("anchor"):
                anchors.append(BaselineSession.from_json(value["anchor"], None, redefined))
                changes = _changes(value["anchor"])
        if len(anchors) > 1:
            raise ValueError(f"{len(anchors)} sessions are marked as the anchor: expected one")
        with at("rows"):
            rows = Rows.from_json(as_object(value["rows"])) if value["rows"] is not None else None
        with at("scores"):
            scores = RowScores.from_json(as_object(value["scores"])) if "scores" in value else None
        with at("scenario"):
            scenario = as_text(value["scenario"])
        with at("serving"):
            serving = as_text(value["serving"])
        with at("slo"):
            slo = as_number(value["slo"]) if value["slo"] is not None else None
        with at("seeds"):
            seeds = tuple(map(as_number, as_list(value.get("seeds", []))))
        return cls(
            scenario=scenario,
            serving=serving,
            sessions=tuple(sessions),
            rows=rows,
            slo=slo,
            anchor=anchors[0] if anchors else None,
            changes=changes,
            seeds=seeds,
            scores=scores.without(redefined) if scores else None,
        )


def _is_anchor(session: dict[str, Any]) -> bool:
    marked = session.get("anchor", False)
    if not isinstance(marked, bool):
        raise ValueError(f"anchor {marked!r:.80} of a session: expected true")  # noqa: TRY004
    return marked


def _changes(anchor: dict[str, Any]) -> int:
    changes = anchor["changes"]
    if not isinstance(changes, int) or changes < 0:
        raise ValueError(f"{changes!r:.80} changes since the anchor: expected 0 or more")
    return changes


def last_sessions(*sessions: BaselineSession) -> tuple[BaselineSession, ...]:
    """The newest sessions, as many as a baseline keeps; oldest first."""
    return sessions[-MOST_SESSIONS:]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The entries of one test on one machine class, by measurement name."""

    test: str
    accepted: Mapping[str, BaselineEntry]

    def to_json(self, machine: MachineClass) -> dict[str, object]:
        """Plain values in a stable order, with the machine's fields for people who review."""
        return {
            "schema": SCHEMA,
            "test": self.test,
            "machine": machine.to_json(),
            "measurements": {
                name: entry.to_json() for name, entry in sorted(self.accepted.items())
            },
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Baseline:
        """The inverse of `to_json`.

        Raises:
            MisplacedValueError: if the values are not of this shape; it names the place.
        """
        with at("test"):
            test = as_text(value["test"])
        entries = {}
        with at("measurements"):
            for name, entry in as_object(value["measurements"]).items():
                with at(name):
                    entries[name] = BaselineEntry.from_json(entry)
        return cls(test, MappingProxyType(entries))


def accept(
    measurement: Measurement,
    environment: Environment,
    revision: Revision,
    yardstick: Pace | None = None,
    earlier: tuple[BaselineSession, ...] = (),
) -> BaselineEntry:
    """The entry of a measurement that becomes the baseline, or its next session.

    Without `earlier` accepted sessions it is the first one, or a change. Metrics without an upper
    bound are left out.
    """
    blocks = block_summary(measurement.series)
    unknown = measurement.unbounded
    known = {name: value for name, value in measurement.metrics.items() if name not in unknown}
    metrics = MappingProxyType(known)
    newest = BaselineSession(
        metrics=metrics,
        environment=environment,
        revision=revision,
        yardstick=yardstick,
        blocks=blocks,
        answers=fingerprints(measurement.rows, measurement.scores),
        counts=measurement.counts,
    )
    sessions = (*earlier, newest)
    return BaselineEntry(
        scenario=measurement.scenario,
        serving=measurement.serving,
        sessions=last_sessions(*sessions),
        rows=measurement.rows,
        slo=measurement.slo,
        anchor=sessions[0],
        seeds=measurement.seeds,
        scores=measurement.scores,
    )
