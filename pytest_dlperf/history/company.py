"""The other tests of the runs of a timeline, as curves to compare with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from pytest_dlperf.judge.conditions import scaled_metrics_of
from pytest_dlperf.judge.contrasts import session_of
from pytest_dlperf.judge.losses import cost
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.statistics.machine_speed import follow, logs_of
from pytest_dlperf.statistics.prediction import PRIOR_FREEDOM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.statistics.pace import Pace
    from pytest_dlperf.statistics.prediction import Session

Kind: TypeAlias = Literal["speed", "memory"]
"""What a machine or its software changes on many tests at once."""

# Tails and counts of few calls are too uneven to say how a machine was.
_TELLING: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        "speed": ("throughput", "p50", "mean", "train.time", "train.throughput"),
        "memory": ("peak_memory", "train.peak_memory"),
    }
)
_OF_ARRIVALS: Final = frozenset({"throughput", "goodput"})


@dataclass(frozen=True, slots=True)
class Company:
    """The other tests on the machine class.

    Attributes:
        tests: of each test, the comparable runs of each of its measurements.
    """

    tests: Mapping[str, tuple[tuple[Entry, ...], ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def curves(
        self, kind: Kind, entries: Sequence[Entry], yardsticks: Sequence[Pace | None]
    ) -> list[NDArray[np.float64]]:
        """Of each test that has any: log costs of shape `(curves, runs)`, NaN where not measured.

        Args:
            kind: of the metrics.
            entries: the runs.
            yardsticks: the machine's pace in each run, to adjust by; None where it is not known.
        """
        places = {entry.run.key: at for at, entry in enumerate(entries)}
        found = []
        for measurements in self.tests.values():
            curves = [
                curve
                for others in measurements
                for name in _TELLING[kind]
                if others and kind_of(metric_named(name), others[-1].result.scenario) == kind
                if (curve := _curve(name, others, places, yardsticks)) is not None
            ]
            if curves:
                found.append(np.array(curves))
        return found


ALONE: Final = Company()
"""Without other tests."""


def kind_of(metric: Metric, scenario: str) -> Kind | None:
    """What of the machine a metric shows; None for answers, counts and the rate of arrivals."""
    if metric.unit == "bytes":
        return None if metric.name == "model_size" else "memory"
    if not metric.is_speed:
        return None
    of_arrivals = metric.name in _OF_ARRIVALS and metric.name not in scaled_metrics_of(scenario)
    return None if of_arrivals else "speed"


def _curve(
    name: str,
    others: Sequence[Entry],
    places: Mapping[str, int],
    yardsticks: Sequence[Pace | None],
) -> NDArray[np.float64] | None:
    metric = metric_named(name)
    at, sessions = [], []
    for entry in others:
        place = places.get(entry.run.key)
        if place is not None and name in entry.result.metrics:
            at.append(place)
            sessions.append(session_of(metric, entry.result.metrics[name], yardsticks[place]))
    if not at:
        return None
    curve = np.full(len(places), math.nan)
    curve[at] = adjusted_costs(metric, sessions)
    return curve


def adjusted_costs(metric: Metric, sessions: Sequence[Session]) -> NDArray[np.float64]:
    """Log costs less the yardstick's part, if every session has one."""
    costs = np.array([session.cost for session in sessions])
    paces = [session.yardstick for session in sessions if session.yardstick is not None]
    if len(paces) < len(sessions):
        return costs
    logs = logs_of(paces)
    noise = math.log1p(metric.run_noise)
    return costs - follow([costs], [logs], noise=noise, worth=PRIOR_FREEDOM).expected(logs)


@dataclass(frozen=True, slots=True)
class Course:
    """What changes of a metric are sought in.

    Attributes:
        metric: whose it is.
        kind: what of the machine it shows.
        runs: indices of the runs that have it.
        costs: more is worse: logarithms, adjusted by the yardstick if every run has one; of shares
            the values themselves.
        yardsticks: that it was adjusted by; None for each run if it was not.
    """

    metric: Metric
    kind: Kind | None
    runs: tuple[int, ...]
    costs: NDArray[np.float64]
    yardsticks: tuple[Pace | None, ...]


def course_of(name: str, entries: Sequence[Entry]) -> Course:
    """The course of a metric that at least one of the entries has."""
    metric = metric_named(name)
    runs = tuple(at for at, entry in enumerate(entries) if name in entry.result.metrics)
    having = [entries[at].result for at in runs]
    scenario = having[-1].scenario
    kind = kind_of(metric, scenario)
    scaled = name in scaled_metrics_of(scenario)
    yardsticks = tuple(result.newest.yardstick if scaled else None for result in having)
    if None in yardsticks:
        yardsticks = (None,) * len(runs)
    if metric.unit == "share":
        costs = np.array([cost(metric, result.metrics[name].value) for result in having])
    else:
        pairs = zip(having, yardsticks, strict=True)
        sessions = [session_of(metric, result.metrics[name], pace) for result, pace in pairs]
        costs = adjusted_costs(metric, sessions)
    return Course(metric, kind, runs, costs, yardsticks)
