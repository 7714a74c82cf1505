"""Baseline: the accepted measurements of one test on one machine class, as plain values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.metrics import definitions_of, metric_named, read_definitions
from pytest_dlperf.results.codec import (
    check_metrics,
    check_yardstick,
    ends_of,
    estimate_of,
    rounded,
)
from pytest_dlperf.results.environment import Environment
from pytest_dlperf.results.row_evidence import Rows, RowScores
from pytest_dlperf.statistics.block_bootstrap import MIN_BLOCKS
from pytest_dlperf.statistics.estimate import deviation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.results.environment import MachineClass
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.series import Series
    from pytest_dlperf.statistics.estimate import Estimate


SCHEMA: Final = 3
"""Version of the baseline files that this version writes and the newest that it reads."""

MOST_SESSIONS: Final = 30
"""So many accepted sessions of one measurement are kept; older code says less of today's."""

_FIRST_SCHEMA: Final = 1  # one session a measurement
_BEFORE_ANCHORS: Final = 2
_SHORT: Final = 8  # digits of a commit


_SHAPE: Final = '{"count": 50, "spread": 0.02}'


@dataclass(frozen=True, slots=True)
class Revision:
    """What code was measured, and when.

    Attributes:
        commit: full hash, empty outside a repository; ends in `+` if there were uncommitted
            changes.
        branch: name, empty if detached or outside a repository.
        date: day in UTC, as 2026-11-23.
    """

    commit: str
    branch: str
    date: str

    @property
    def changed(self) -> bool:
        """Whether there were uncommitted changes."""
        return self.commit.endswith("+")

    def __str__(self) -> str:
        return f"{short(self.commit)}, {self.date}" if self.commit else self.date


def short(commit: str) -> str:
    """A commit as people write it; with a `+` if there were uncommitted changes."""
    return commit[:_SHORT] + ("+" if commit.endswith("+") else "")


@dataclass(frozen=True, slots=True)
class BaselineSession:
    """What one session measured of code that was accepted.

    Attributes:
        metrics: what was measured.
        environment: the software that it ran with.
        revision: the code, and when.
        yardstick: seconds a request of the reference model in the same session; None if it was
            not measured.
        blocks: how evenly the session went; None if it was too short to tell.
    """

    metrics: Mapping[str, Estimate]
    environment: Environment
    revision: Revision
    yardstick: float | None = None
    blocks: BlockSummary | None = None


@dataclass(frozen=True, slots=True)
class BaselineEntry:
    """The accepted sessions of one measurement since the last accepted change.

    Attributes:
        scenario: the traffic, as text; of all sessions, as are serving and slo.
        serving: batching and replicas, as text.
        metrics: what the newest session measured.
        rows: the newest session's evidence for accuracy, if the data had labels.
        environment: the software that it ran with.
        revision: the code, and when.
        slo: seconds within which an answer counted towards goodput.
        yardstick: seconds a request of the reference model in the newest session; None if it was
            not measured.
        earlier: the sessions before the newest, oldest first.
        blocks: how evenly the newest session went; None if it was too short to tell.
        anchor: the session that stays while sessions come and go, so that many small changes are
            seen together; one of the sessions, or older than they are. None if none is known.
        changes: how many changes were accepted since the anchor.
        seeds: the newest session's accuracy from each seed, of trainings from several.
        scores: the newest session's evidence for users' metrics, if it has any.
    """

    scenario: str
    serving: str
    metrics: Mapping[str, Estimate]
    rows: Rows | None
    environment: Environment
    revision: Revision
    slo: float | None = None
    yardstick: float | None = None
    earlier: tuple[BaselineSession, ...] = ()
    blocks: BlockSummary | None = None
    anchor: BaselineSession | None = None
    changes: int = 0
    seeds: tuple[float, ...] = ()
    scores: RowScores | None = None

    @property
    def newest(self) -> BaselineSession:
        """The newest session."""
        return BaselineSession(
            self.metrics, self.environment, self.revision, self.yardstick, self.blocks
        )

    @property
    def sessions(self) -> tuple[BaselineSession, ...]:
        """All sessions, oldest first; at least one."""
        return (*self.earlier, self.newest)

    @property
    def conditions(self) -> tuple[str, str, float | None]:
        """What must be the same for sessions to be compared: scenario, serving, slo."""
        return self.scenario, self.serving, self.slo

    def following(self, stored: BaselineEntry | None) -> BaselineEntry:
        """This as what comes after what is stored by now: its next session, or a change.

        What another run has stored since this one looked is kept, and so is the anchor, unless
        this cannot be compared with it.
        """
        if stored is None or stored.newest == self.newest:
            return self
        if self.earlier:
            anchor = stored.anchor or self.anchor
            earlier = stored.sessions[-(MOST_SESSIONS - 1) :]
            return dataclasses.replace(self, earlier=earlier, anchor=anchor, changes=stored.changes)
        if stored.anchor is None or not self.comparable(stored):
            return self
        return dataclasses.replace(self, anchor=stored.anchor, changes=stored.changes + 1)

    def comparable(self, stored: BaselineEntry) -> bool:
        """Whether this was measured under the conditions of what is stored, its anchor included.

        It was not where the scenario, the serving, the slo, the thread settings or the precision
        are not what they were.
        """
        environments = (stored.environment, (stored.anchor or stored.newest).environment)
        same = not any(self.environment.changes(one)["blocking"] for one in environments)
        return same and self.conditions == stored.conditions

    def anchored(self) -> BaselineEntry:
        """The same sessions, with the newest as the anchor."""
        return dataclasses.replace(self, anchor=self.newest, changes=0)

    def to_json(self) -> dict[str, object]:
        """Plain values in a stable order."""
        sessions = self.sessions
        environments = (None, *(session.environment for session in sessions))
        among = self.anchor in sessions and not self.changes
        marked = sessions.index(self.anchor) if self.anchor and among else None
        apart = self.anchor if not among else None
        told = (*sessions, *((apart,) if apart else ()))
        definitions = definitions_of(name for session in told for name in session.metrics)
        return {
            "scenario": self.scenario,
            "serving": self.serving,
            "slo": self.slo,
            "units": {name: metric_named(name).unit for name in self.metrics},
            **({"definitions": definitions} if definitions else {}),
            "rows": self.rows.to_json() if self.rows else None,
            **({"scores": self.scores.to_json()} if self.scores else {}),
            **({"seeds": [rounded(one) for one in self.seeds]} if self.seeds else {}),
            **(
                {"anchor": {"changes": self.changes, **_session_to_json(apart, None)}}
                if apart
                else {}
            ),
            "sessions": [
                {
                    **({"anchor": True} if number == marked else {}),
                    **_session_to_json(session, before),
                }
                for number, (session, before) in enumerate(
                    zip(sessions, environments, strict=False)
                )
            ],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], schema: int = SCHEMA) -> BaselineEntry:
        """The inverse of `to_json`.

        Args:
            value: what was read.
            schema: the version that it was written with.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape.
        """
        others = read_definitions(value.get("definitions", {}))
        sessions: list[BaselineSession] = []
        written = [value] if schema == _FIRST_SCHEMA else value["sessions"]
        for one in written:
            before = sessions[-1].environment if sessions else None
            sessions.append(_session_from_json(one, before, others))
        if not 0 < len(sessions) <= MOST_SESSIONS:
            raise ValueError(f"{len(sessions)} sessions: expected 1 to {MOST_SESSIONS}")
        anchors = [
            session for session, one in zip(sessions, written, strict=True) if _is_anchor(one)
        ]
        changes = 0
        if schema <= _BEFORE_ANCHORS:  # the oldest session that is left stands in
            anchors = sessions[:1]
        elif "anchor" in value:
            anchors.append(_session_from_json(value["anchor"], None, others))
            changes = _changes(value["anchor"])
        if len(anchors) > 1:
            raise ValueError(f"{len(anchors)} sessions are marked as the anchor: expected one")
        newest = sessions.pop()
        return cls(
            scenario=str(value["scenario"]),
            serving=str(value["serving"]),
            metrics=newest.metrics,
            rows=Rows.from_json(value["rows"]) if value["rows"] is not None else None,
            environment=newest.environment,
            revision=newest.revision,
            slo=float(value["slo"]) if value["slo"] is not None else None,
            yardstick=newest.yardstick,
            earlier=tuple(sessions),
            blocks=newest.blocks,
            anchor=anchors[0] if anchors else None,
            changes=changes,
            seeds=tuple(float(one) for one in value.get("seeds", ())),
            scores=RowScores.from_json(value["scores"]).without(others)
            if "scores" in value
            else None,
        )


def _session_to_json(session: BaselineSession, before: Environment | None) -> dict[str, object]:
    """Plain values; without the environment where it is that of the session before."""
    yardstick, blocks = session.yardstick, session.blocks
    return {
        "commit": session.revision.commit,
        "branch": session.revision.branch,
        "date": session.revision.date,
        **({"environment": session.environment.to_json()} if session.environment != before else {}),
        **({"yardstick": rounded(yardstick)} if yardstick is not None else {}),
        **({"blocks": blocks.to_json()} if blocks is not None else {}),
        "metrics": {name: ends_of(estimate) for name, estimate in session.metrics.items()},
    }


def _session_from_json(
    value: dict[str, Any], before: Environment | None, others: frozenset[str] = frozenset()
) -> BaselineSession:
    """A session, without the metrics that mean something else by now."""
    check_metrics(value["metrics"])
    if before is None or "environment" in value:
        before = Environment.from_json(value["environment"])
    return BaselineSession(
        metrics=MappingProxyType(
            {
                name: estimate_of(metric)
                for name, metric in value["metrics"].items()
                if name not in others
            }
        ),
        environment=before,
        revision=Revision(str(value["commit"]), str(value["branch"]), str(value["date"])),
        yardstick=check_yardstick(value.get("yardstick")),
        blocks=BlockSummary.from_json(value["blocks"]) if "blocks" in value else None,
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


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was accepted of one test on one machine class, by measurement name."""

    test: str
    accepted: Mapping[str, BaselineEntry]

    def to_json(self, machine: MachineClass) -> dict[str, object]:
        """Plain values in a stable order, with the machine's fields for people who review."""
        return {
            "schema": SCHEMA,
            "test": self.test,
            "machine": machine.to_json(),
            "measurements": {
                name: accepted.to_json() for name, accepted in sorted(self.accepted.items())
            },
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Baseline:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape.
        """
        schema = value["schema"]
        return cls(
            test=str(value["test"]),
            accepted=MappingProxyType(
                {
                    name: BaselineEntry.from_json(accepted, schema)
                    for name, accepted in value["measurements"].items()
                }
            ),
        )


def accept(
    measurement: Measurement,
    environment: Environment,
    revision: Revision,
    yardstick: float | None = None,
    earlier: tuple[BaselineSession, ...] = (),
) -> BaselineEntry:
    """What is kept of a measurement that becomes the baseline, or its next session.

    Args:
        measurement: what was found.
        environment: the software that it ran with.
        revision: the code, and when.
        yardstick: seconds a request of the reference model.
        earlier: accepted sessions that it follows; none if it is the first, or a change.
    """
    blocks = block_summary(measurement.series)
    newest = BaselineSession(measurement.metrics, environment, revision, yardstick, blocks)
    return BaselineEntry(
        scenario=measurement.scenario,
        serving=measurement.serving,
        metrics=measurement.metrics,
        rows=measurement.rows,
        environment=environment,
        revision=revision,
        slo=measurement.slo,
        yardstick=yardstick,
        earlier=earlier[-(MOST_SESSIONS - 1) :],
        blocks=blocks,
        anchor=(*earlier, newest)[0],
        seeds=measurement.seeds,
        scores=measurement.scores,
    )


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """How much the rate of answers changed from block to block of a session.

    Attributes:
        count: how many there were, each as long as a point of the session's series.
        spread: robust standard deviation of the logarithm of their rates: 0.02 is about 2 %.
    """

    count: int
    spread: float

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.spread < math.inf:
            raise ValueError(
                f"{self.count} blocks with a spread of {self.spread}: expected some, and 0 or more"
            )

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {"count": self.count, "spread": rounded(self.spread)}

    @classmethod
    def from_json(cls, value: Any) -> BlockSummary:  # noqa: ANN401 - of a file
        """The inverse of `to_json`.

        Raises:
            ValueError: if the values are not of this shape.
        """
        match value:
            case {"count": int(count), "spread": int() | float() as spread}:
                return cls(count, float(spread))
        raise ValueError(f"{value!r:.80} is no summary of blocks: expected such as {_SHAPE}")


def block_summary(series: Series) -> BlockSummary | None:
    """What there is to say of a session's blocks; None if there are too few to say it.

    `spread = 1.4826 median |log r - median(log r)|` over the rates `r` of the blocks in which
    anything was answered.
    """
    rates = np.array([rate for rate in series.rate if rate > 0])
    if len(rates) < MIN_BLOCKS:
        return None
    costs = np.log(rates)
    return BlockSummary(len(rates), deviation(np.abs(costs - np.median(costs))))
