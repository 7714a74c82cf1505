"""Sessions of unchanged code on machines of many kinds, judged against a stored baseline.

The machines are those of a table: what their sessions differ by, what the yardstick sees of it, and
what a second look in the same hour shares with the first. What decides is the package's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pytest_dlperf.judge.error_rates import ALPHA, BETA
from pytest_dlperf.judge.loss_evidence import SessionLoss
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.pace import Pace
from pytest_dlperf.statistics.prediction import Session, contrast
from pytest_dlperf.statistics.session_noise import (
    MetricSeries,
    SessionNoise,
    pooled_spread,
    shown_noise,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

THROUGHPUT = METRICS["throughput"]
LIMITS = LossLimits.allowing(THROUGHPUT, 0.0)
PRIOR = math.log1p(THROUGHPUT.run_noise)
NEIGHBOUR = math.log(1.3)
PAIR_NOISE, PAIRS = 0.02, 8
"""Of the duel that looks again: what its pairs differ by, and how many there are."""
_ERROR = 0.005
_EACH = 100  # simulated baselines of one machine


def _pace(log: float) -> Pace:
    """The pace of a machine whose yardstick has this logarithm, in both parts."""
    return Pace(math.exp(log), math.exp(log))


@dataclass(frozen=True)
class Machine:
    """What sessions of unchanged code differ by, as log ratios.

    Attributes:
        day: noise that all sessions of a day share, a second look too.
        own: noise of each session.
        machine: noise that the yardstick follows.
        follows: how far the model follows it.
        seen: how far the yardstick follows `day` and a neighbour.
        neighbours: the share of days beside a neighbour, which slows all sessions of the day.
        one_day: whether all sessions of the baseline are of one day.
    """

    day: float = 0.0
    own: float = 0.0
    machine: float = 0.0
    follows: float = 1.0
    seen: float = 0.0
    neighbours: float = 0.0
    one_day: bool = False

    def days(
        self, random: np.random.Generator, count: int, sessions: int = 1
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Costs of shape `(count, sessions)`, and the yardstick of each day."""
        machine = random.normal(0, self.machine, count)
        day = random.normal(0, self.day, count)
        day += (random.random(count) < self.neighbours) * NEIGHBOUR
        own = random.normal(0, math.hypot(self.own, _ERROR), (count, sessions))
        return (machine * self.follows + day)[:, None] + own, machine + self.seen * day


MACHINES = {
    "2 %": Machine(0.02),
    "5 %": Machine(0.05),
    "10 %": Machine(0.10),
    "8 %, which the model does not follow": Machine(own=0.02, machine=0.08, follows=0.0),
    "3 %, and a neighbour": Machine(own=0.03, neighbours=0.05),
    "3 %, and a neighbour, half seen": Machine(own=0.03, neighbours=0.05, seen=0.5),
    "one day, days differ by 5 %": Machine(0.05, own=0.01, one_day=True),
    "one day, days differ by 8 %, half seen": Machine(0.08, own=0.01, seen=0.5, one_day=True),
}
"""The kinds of machines; what differs is shared by a second look wherever it can be."""


def learnt(machine: Machine, random: np.random.Generator) -> SessionNoise:
    """What a history of eight tests on thirty days shows."""
    series = []
    for test in range(8):
        costs, yardsticks = machine.days(random, 30)
        sessions = (
            Session(float(cost), _ERROR, _pace(yardstick), f"{day:02}")
            for day, (cost, yardstick) in enumerate(zip(costs[:, 0], yardsticks, strict=True))
        )
        series.append(MetricSeries(str(test), tuple(sessions)))
    return pooled_spread(list(shown_noise(series).values()), PRIOR)


@dataclass(frozen=True)
class Counts:
    """What became of simulated sessions.

    Attributes:
        first: FAIL at the first look.
        fresh: and again in a fresh process.
        suspected: looked at again in turn with the baseline's commit.
        duel: and FAIL there.
        passed: PASS at the first look.
    """

    first: int
    fresh: int
    suspected: int
    duel: int
    passed: int


def simulated(
    machine: Machine, sessions: int, runs: int, *, history: bool, loss: float = 0.0
) -> Counts:
    """The counts of runs against baselines of some sessions, with a loss as a log ratio."""
    random = np.random.default_rng((sessions, runs, history))
    noise, counts = SessionNoise(PRIOR), np.zeros(5, int)
    critical = float(stats.t.ppf(1 - ALPHA, PAIRS - 1))
    for run in range(runs):
        if history and not run % _EACH:
            noise = learnt(machine, random)
        stored = _stored(machine, random, sessions)
        costs, yardsticks = machine.days(random, 1, 2)
        looks = (
            SessionLoss(
                contrast(
                    stored,
                    [Session(float(cost) + loss, _ERROR, _pace(yardsticks[0]), "now")],
                    noise.spread,
                    noise.freedom,
                ),
                noise.excursions,
            )
            for cost in costs[0]
        )
        first = next(looks)
        decision = first.decision(LIMITS, ALPHA, BETA)
        failed = decision == "FAIL"
        counts[4] += decision == "PASS"
        counts[0] += failed
        counts[1] += failed and next(looks).decision(LIMITS, ALPHA, BETA) == "FAIL"
        if first.suspected(LIMITS):
            counts[2] += 1
            pairs = random.normal(loss, PAIR_NOISE, PAIRS)
            counts[3] += pairs.mean() > critical * pairs.std(ddof=1) / math.sqrt(PAIRS)
    return Counts(*counts.tolist())


def _stored(machine: Machine, random: np.random.Generator, sessions: int) -> list[Session]:
    if machine.one_day:
        costs, yardsticks = machine.days(random, 1, sessions)
        return [Session(float(c), _ERROR, _pace(yardsticks[0]), "one") for c in costs[0]]
    costs, yardsticks = machine.days(random, sessions)
    return [
        Session(float(cost), _ERROR, _pace(yardstick), str(day))
        for day, (cost, yardstick) in enumerate(zip(costs[:, 0], yardsticks, strict=True))
    ]
