"""The noise between sessions of each metric on one machine, from all that was measured there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from pytest_dlperf.judge.conditions import scaled_metrics_of
from pytest_dlperf.judge.contrasts import session_of
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.session_noise import (
    MetricSeries,
    SessionNoise,
    pooled_spread,
    shown_noise,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.statistics.pace import Pace
    from pytest_dlperf.statistics.session_noise import ShownNoise

Kind: TypeAlias = tuple[bool, bool, float]
"""Metrics of a kind: whether of training, whether a rate or a latency, and their prior."""


@dataclass(frozen=True, slots=True)
class PastSession:
    """One session of a measurement.

    Attributes:
        day: as text that sorts by time.
        metrics: what was measured.
        yardstick: the machine's pace, if it was measured.
        starts: whether it is the first of a new level: an accepted change, or other conditions.
    """

    day: str
    metrics: Mapping[str, Estimate]
    yardstick: Pace | None = None
    starts: bool = False


@dataclass(frozen=True, slots=True)
class PastMeasurement:
    """The sessions of one measurement on this machine, oldest first.

    Attributes:
        test: pytest's node id.
        name: of the measurement within the test.
        scenario: as stored, which says what the yardstick is allowed for.
        sessions: all of them, also those that no baseline has.
    """

    test: str
    name: str
    scenario: str
    sessions: tuple[PastSession, ...]

    @property
    def key(self) -> str:
        """Test and name in one."""
        return measurement_key(self.test, self.name)


def measurement_key(test: str, name: str) -> str:
    """Test and name in one."""
    return f"{test}\n{name}"


@dataclass(frozen=True, slots=True)
class MachineNoise:
    """What sessions of unchanged code differ by on this machine.

    Attributes:
        past: what was measured on it.
    """

    past: tuple[PastMeasurement, ...] = ()
    _shown: dict[tuple[Kind, bool], dict[str, ShownNoise]] = field(default_factory=dict)

    def last(
        self, test: str, name: str, scenario: str, between: tuple[str, str]
    ) -> PastSession | None:
        """The last session of a measurement after one day and before another, if nothing changed.

        Its conditions are those of the session before it, and it was not accepted as a change.
        """
        after, before = between
        sessions = [
            session
            for past in self.past
            if (past.test, past.name, past.scenario) == (test, name, scenario)
            for session in past.sessions
            if after < session.day < before
        ]
        return sessions[-1] if sessions and not sessions[-1].starts else None

    def of(
        self, metric: Metric, test: str, name: str, *, scaled: bool, known: Collection[str]
    ) -> SessionNoise:
        """The noise of a speed.

        Args:
            metric: whose kind counts.
            test: pytest's node id.
            name: of the measurement.
            scaled: whether the yardstick is allowed for.
            known: the days of the test's baseline, which are compared by themselves.
        """
        kind, prior, own = _kind(metric), math.log1p(metric.run_noise), measurement_key(test, name)
        if (kind, scaled) not in self._shown:
            series = (one for past in self.past for one in _series(past, kind, scaled=scaled))
            self._shown[kind, scaled] = shown_noise(series)
        shown = self._shown[kind, scaled]
        others = [noise for key, noise in shown.items() if key != own]
        mine = (
            _series(_without(past, known), kind, scaled=scaled)
            for past in self.past
            if past.key == own
        )
        own_noise = shown_noise(one for series in mine for one in series).get(own)
        return pooled_spread(others, prior, own_noise)


def _kind(metric: Metric) -> Kind:
    return metric.of_training, metric.name != "compile_time", metric.run_noise


def _without(past: PastMeasurement, days: Collection[str]) -> PastMeasurement:
    """Without sessions of some days."""
    sessions: list[PastSession] = []
    starts = False
    for session in past.sessions:
        starts = starts or session.starts
        if session.day not in days:
            sessions.append(replace(session, starts=starts))
            starts = False
    return replace(past, sessions=tuple(sessions))


def _series(past: PastMeasurement, kind: Kind, *, scaled: bool) -> Iterable[MetricSeries]:
    """The series of each metric of a kind, between changes."""
    levels: list[list[PastSession]] = []
    for session in past.sessions:
        if session.starts or not levels:
            levels.append([])
        levels[-1].append(session)
    follows = scaled_metrics_of(past.scenario) if scaled else frozenset()
    for level in levels:
        for metric in METRICS.values():
            if not metric.is_speed or _kind(metric) != kind:
                continue
            sessions = tuple(
                session_of(
                    metric,
                    session.metrics[metric.name],
                    session.yardstick if metric.name in follows else None,
                    session.day,
                )
                for session in level
                if metric.name in session.metrics
            )
            if len(sessions) > 1:
                yield MetricSeries(past.key, sessions)
