"""Baseline: the accepted measurements of one test on one machine class, as plain values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.core.environment import Environment
from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.rows import Rows
from pytest_dlperf.core.statistics.estimate import Estimate, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.core.environment import MachineClass
    from pytest_dlperf.core.measurement import Measurement

SCHEMA: Final = 2
"""Version of the baseline files that this version writes and the newest that it reads."""

MOST_SESSIONS: Final = 30
"""So many accepted sessions of one measurement are kept; older code says less of today's."""

_FIRST_SCHEMA: Final = 1  # one session a measurement
_DIGITS: Final = 6  # significant digits that a file keeps


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

    def __str__(self) -> str:
        short = self.commit[:8] + ("+" if self.commit.endswith("+") else "")
        return f"{short}, {self.date}" if self.commit else self.date


@dataclass(frozen=True, slots=True)
class AcceptedSession:
    """What one session measured of code that was accepted.

    Attributes:
        metrics: what was measured.
        environment: the software that it ran with.
        revision: the code, and when.
        yardstick: seconds a request of the reference model in the same session; None if it was
            not measured.
    """

    metrics: Mapping[str, Estimate]
    environment: Environment
    revision: Revision
    yardstick: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
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
    """

    scenario: str
    serving: str
    metrics: Mapping[str, Estimate]
    rows: Rows | None
    environment: Environment
    revision: Revision
    slo: float | None = None
    yardstick: float | None = None
    earlier: tuple[AcceptedSession, ...] = ()

    @property
    def newest(self) -> AcceptedSession:
        """The newest session."""
        return AcceptedSession(self.metrics, self.environment, self.revision, self.yardstick)

    @property
    def sessions(self) -> tuple[AcceptedSession, ...]:
        """All sessions, oldest first; at least one."""
        return (*self.earlier, self.newest)

    def following(self, stored: Accepted | None) -> Accepted:
        """This as the next session after those that are stored by now.

        What another run has stored since this one looked is kept.
        """
        if not self.earlier or stored is None or stored.newest == self.newest:
            return self
        return dataclasses.replace(self, earlier=stored.sessions[-(MOST_SESSIONS - 1) :])

    def to_json(self) -> dict[str, object]:
        """Plain values in a stable order."""
        environments = (None, *(session.environment for session in self.sessions))
        return {
            "scenario": self.scenario,
            "serving": self.serving,
            "slo": self.slo,
            "units": {name: METRICS[name].unit for name in self.metrics},
            "rows": self.rows.to_json() if self.rows else None,
            "sessions": [
                _session_to_json(session, before)
                for session, before in zip(self.sessions, environments, strict=False)
            ],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], schema: int = SCHEMA) -> Accepted:
        """The inverse of `to_json`.

        Args:
            value: what was read.
            schema: the version that it was written with.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape.
        """
        sessions: list[AcceptedSession] = []
        for one in [value] if schema == _FIRST_SCHEMA else value["sessions"]:
            before = sessions[-1].environment if sessions else None
            sessions.append(_session_from_json(one, before))
        if not 0 < len(sessions) <= MOST_SESSIONS:
            raise ValueError(f"{len(sessions)} sessions: expected 1 to {MOST_SESSIONS}")
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
        )


def _session_to_json(session: AcceptedSession, before: Environment | None) -> dict[str, object]:
    """Plain values; without the environment where it is that of the session before."""
    yardstick = session.yardstick
    return {
        "commit": session.revision.commit,
        "branch": session.revision.branch,
        "date": session.revision.date,
        **({"environment": session.environment.to_json()} if session.environment != before else {}),
        **({"yardstick": _rounded(yardstick)} if yardstick is not None else {}),
        "metrics": {name: _ends(estimate) for name, estimate in session.metrics.items()},
    }


def _session_from_json(value: dict[str, Any], before: Environment | None) -> AcceptedSession:
    unknown = set(value["metrics"]) - set(METRICS)
    if unknown:
        raise ValueError(f"there is no metric {min(unknown)!r}")
    if before is None or "environment" in value:
        before = Environment.from_json(value["environment"])
    yardstick = value.get("yardstick")
    if yardstick is not None and not 0 < yardstick < math.inf:
        raise ValueError(f"yardstick {yardstick!r}: expected seconds above 0")
    return AcceptedSession(
        metrics=MappingProxyType(
            {name: _estimate(metric) for name, metric in value["metrics"].items()}
        ),
        environment=before,
        revision=Revision(str(value["commit"]), str(value["branch"]), str(value["date"])),
        yardstick=yardstick,
    )


def _ends(estimate: Estimate) -> float | list[float]:
    """Value, low and high; one figure if it was counted."""
    if estimate.low == estimate.high:
        return _rounded(estimate.value)
    return [_rounded(end) for end in (estimate.value, estimate.low, estimate.high)]


def _estimate(metric: Any) -> Estimate:  # noqa: ANN401 - of a file
    match metric:
        case int() | float():
            return counted(float(metric))
        case [value, low, high]:
            return Estimate(float(value), float(low), float(high))
        case {"value": value, "low": low, "high": high}:  # the first schema
            return Estimate(float(value), float(low), float(high))
    raise ValueError(f"{metric!r:.80} is no figure: expected one, or value, low and high")


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was accepted of one test on one machine class, by measurement name."""

    test: str
    accepted: Mapping[str, Accepted]

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
                    name: Accepted.from_json(accepted, schema)
                    for name, accepted in value["measurements"].items()
                }
            ),
        )


def accept(
    measurement: Measurement,
    environment: Environment,
    revision: Revision,
    yardstick: float | None = None,
    earlier: tuple[AcceptedSession, ...] = (),
) -> Accepted:
    """What is kept of a measurement that becomes the baseline, or its next session.

    Args:
        measurement: what was found.
        environment: the software that it ran with.
        revision: the code, and when.
        yardstick: seconds a request of the reference model.
        earlier: accepted sessions that it follows; none if it is the first, or a change.
    """
    return Accepted(
        scenario=measurement.scenario,
        serving=measurement.serving,
        metrics=measurement.metrics,
        rows=measurement.rows,
        environment=environment,
        revision=revision,
        slo=measurement.slo,
        yardstick=yardstick,
        earlier=earlier[-(MOST_SESSIONS - 1) :],
    )


def metrics_to_json(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, object]]:
    """Each metric with its interval, unit and direction, rounded to six significant digits."""
    return {
        name: {
            "value": _rounded(estimate.value),
            "low": _rounded(estimate.low),
            "high": _rounded(estimate.high),
            "unit": METRICS[name].unit,
            "better": METRICS[name].better,
        }
        for name, estimate in metrics.items()
    }


def metrics_from_json(value: dict[str, dict[str, Any]]) -> Mapping[str, Estimate]:
    """The inverse of `metrics_to_json`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape.
    """
    unknown = set(value) - set(METRICS)
    if unknown:
        raise ValueError(f"there is no metric {min(unknown)!r}")
    return MappingProxyType({name: estimate_from_json(metric) for name, metric in value.items()})


def estimate_from_json(value: dict[str, Any]) -> Estimate:
    """An estimate from its `value`, `low` and `high`.

    Raises:
        KeyError, TypeError, ValueError: if the values are not of this shape.
    """
    return Estimate(float(value["value"]), float(value["low"]), float(value["high"]))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
