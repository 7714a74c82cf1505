"""Conditions of the machine in a session that is compared with earlier ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from pytest_dlperf.load.scenarios import OpenLoop
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.usage import noise_note
from pytest_dlperf.statistics.prediction import Session, reference_change
from pytest_dlperf.statistics.session_noise import SessionNoise

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.statistics.pace import Pace

ALIKE: Final = (0.8, 1.25)
"""The yardstick of one and the same machine stays within these multiples of what it was."""

# Not the compile time, which is one thread of Python most of the time; nor the times of training:
# the yardstick runs in one thread, and how its pace relates to that of gradients, input
# pipelines and many threads is not known. A noisy machine, or one whose speed has changed, leaves
# them undecided too.
_SCALED: Final = frozenset(
    name
    for name, metric in METRICS.items()
    if metric.is_speed and not metric.of_training and name != "compile_time"
)
# In an open loop the rate is that of the arrivals, not the machine's.
_SCALED_IN_OPEN_LOOP: Final = _SCALED - {"throughput", "goodput"}
_OPEN_LOOPS: Final = frozenset(scenario.__name__ for scenario in get_args(OpenLoop))
_WORTH_SAYING: Final = 0.02


@dataclass(frozen=True, slots=True)
class MachineConditions:
    """The machine during a session, and the error rates of judging by it.

    Attributes:
        yardstick: the machine's pace around the load; None if it was not measured.
        scaled: metrics that follow the machine's speed, as the yardstick shows it.
        noisy: which other work kept speeds from being judged; empty if none did.
        speed_changed: by how much the machine's speed changed, if by too much to judge speeds.
        note: by how much the machine's speed changed, if that was allowed for.
        alpha: share of sessions on unchanged code that may FAIL, per budget.
        beta: share of losses that a budget must find that may PASS.
        noise: returns what sessions of a speed differ by; the metric's prior, if nothing is known.
    """

    yardstick: Pace | None = None
    scaled: frozenset[str] = frozenset()
    noisy: str = ""
    speed_changed: str = ""
    note: str = ""
    alpha: float = 0.025
    beta: float = 0.05
    noise: Callable[[Metric], SessionNoise] | None = None

    def noise_of(self, metric: Metric) -> SessionNoise:
        """What sessions of unchanged code differ by."""
        if self.noise is not None and metric.is_speed:
            return self.noise(metric)
        return SessionNoise(math.log1p(metric.run_noise))


UNKNOWN_CONDITIONS: Final = MachineConditions()
"""Of a session without a yardstick and a usage of the machine."""


def scaled_metrics(plan: Plan) -> frozenset[str]:
    """The metrics that a slower machine makes worse, about as far as it slows the yardstick."""
    return _SCALED_IN_OPEN_LOOP if plan.open_loop else _SCALED


def scaled_metrics_of(scenario: str) -> frozenset[str]:
    """The same for a measurement's scenario, given as the stored text."""
    open_loop = scenario.partition("(")[0] in _OPEN_LOOPS
    return _SCALED_IN_OPEN_LOOP if open_loop else _SCALED


def needs_yardstick(plan: Plan, accepted: BaselineEntry | None = None) -> bool:
    """Whether the machine's speed matters to what a plan judges.

    Speeds of a load are corrected by it; those of a training are compared only if it is the same.
    Absolute budgets on speed need it where the accepted sessions show what it was.
    """
    known = accepted is not None and all(session.yardstick for session in accepted.sessions)
    scaled = scaled_metrics(plan)
    return any(
        budget.metric.name in scaled or (budget.metric.of_training and budget.metric.is_speed)
        if budget.relative
        else known and budget.metric.is_speed
        for budget in plan.judged
    )


def conditions_of(  # noqa: PLR0913 - the sources of the conditions, and two error rates
    plan: Plan,
    measurement: Measurement,
    accepted: BaselineEntry | None,
    yardstick: Pace | None,
    *,
    alpha: float,
    beta: float,
    noise: Callable[[Metric], SessionNoise] | None = None,
) -> MachineConditions:
    """The conditions of a session.

    Speeds are not judged if the yardstick is outside of 0.8 to 1.25 times that of the accepted
    sessions, both parts together, or if the host took 5 % of the machine or other processes 20 %.
    """
    change = _change(accepted, yardstick)
    times = f"{change:.2f} times as long as in the baseline's sessions" if change else ""
    least, most = ALIKE
    alike = change is None or least <= change <= most
    noisy = noise_note(measurement.usage) if measurement.usage else ""
    worth_saying = change is not None and abs(change - 1) >= _WORTH_SAYING
    allowed_for = f"the yardstick took {times}, which was allowed for"
    changed = f"the machine is not what it was: the yardstick took {times}"
    return MachineConditions(
        yardstick=yardstick,
        scaled=scaled_metrics(plan),
        noisy=noisy,
        speed_changed="" if alike else changed,
        note=allowed_for if alike and worth_saying and not noisy else "",
        alpha=alpha,
        beta=beta,
        noise=noise,
    )


def _change(accepted: BaselineEntry | None, yardstick: Pace | None) -> float | None:
    if accepted is None or yardstick is None:
        return None
    history = [Session(0.0, 0.0, session.yardstick) for session in accepted.sessions]
    return reference_change(history, Session(0.0, 0.0, yardstick))
