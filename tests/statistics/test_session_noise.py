"""The noise between sessions, as pooled from the tests of a machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_dlperf.statistics.pace import Pace
from pytest_dlperf.statistics.prediction import LEAST_NOISE, PRIOR_FREEDOM, Session
from pytest_dlperf.statistics.session_noise import (
    EXCURSION,
    EXPECTED_EXCURSIONS,
    MetricSeries,
    SessionNoise,
    pooled_spread,
    shown_noise,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PRIOR = math.log1p(0.05)
Law = "Callable[[np.random.Generator, int], NDArray[np.float64]]"


def series(test: str, costs: Sequence[float], error: float = 0.0) -> MetricSeries:
    """A session a day."""
    sessions = (Session(cost, error, None, f"{day:03}") for day, cost in enumerate(costs))
    return MetricSeries(test, tuple(sessions))


def pooled(law: Law, tests: int = 10, days: int = 30, seed: int = 0) -> SessionNoise:
    """What tests of one machine show whose sessions are drawn from a law."""
    random = np.random.default_rng(seed)
    known = [series(str(test), law(random, days).tolist()) for test in range(tests)]
    return pooled_spread(list(shown_noise(known).values()), PRIOR)


def normal(spread: float) -> Law:
    """Independent normal sessions."""
    return lambda random, days: random.normal(0, spread, days)


def test_without_a_history_the_prior_stays() -> None:
    """Nothing known, or a single session of each test: the metric's prior with 4 degrees."""
    assert pooled_spread([], PRIOR) == SessionNoise(PRIOR, PRIOR_FREEDOM, EXPECTED_EXCURSIONS)
    assert shown_noise([series("a", [1.0]), MetricSeries("b", ())]) == {}


@pytest.mark.parametrize("spread", [0.01, 0.02, 0.05, 0.1])
def test_many_tests_show_what_they_share(spread: float) -> None:
    """Ten tests on thirty days: within 25 %, and worth at least seven degrees of freedom."""
    for seed in range(5):
        noise = pooled(normal(spread), seed=seed)
        assert 0.8 <= noise.spread / spread <= 1.25
        assert noise.freedom >= 7
        assert noise.days == 30


def test_the_days_bound_what_is_known() -> None:
    """A hundred tests on five days know the machine of five days."""
    assert pooled(normal(0.02), tests=100, days=5).freedom <= PRIOR_FREEDOM + 4


def test_tests_that_differ_say_little_of_another() -> None:
    """Half of the tests at 1 % and half at 10 %: hardly more than the prior's degrees."""
    random = np.random.default_rng(1)
    spreads = [0.01, 0.1] * 5
    known = [
        series(str(n), random.normal(0, spread, 30).tolist()) for n, spread in enumerate(spreads)
    ]
    shown = shown_noise(known)
    others = list(shown.values())

    assert pooled_spread(others, PRIOR).freedom < 6
    noisy = pooled_spread(others[:-1], PRIOR, others[-1])
    assert noisy.spread > 0.07
    assert noisy.freedom > 15


def test_changes_of_the_code_are_no_noise() -> None:
    """A step of 10 to 40 % in every tenth session leaves the noise at 2 %."""
    for step in (0.1, 0.4):

        def law(random: np.random.Generator, days: int, step: float = step) -> NDArray[np.float64]:
            return random.normal(0, 0.02, days) + step * np.cumsum(random.random(days) < 0.1)

        noise = pooled(law)
        assert 0.015 <= noise.spread <= 0.03
        assert noise.excursions == ((EXCURSION, pytest.approx(0.5 / 40)),)


def test_days_far_off_are_counted() -> None:
    """One day in 20 beside a neighbour: the noise stays that of the others, the share is told."""

    def law(random: np.random.Generator, days: int) -> NDArray[np.float64]:
        return random.normal(0, 0.03, days) + (random.random(days) < 0.05) * EXCURSION

    noise = pooled(law, tests=20, days=60)
    assert 0.025 <= noise.spread <= 0.035
    share = max(share for size, share in noise.excursions if size > 0.2)
    assert 0.04 <= share <= 0.12


def test_many_quiet_days_make_days_far_off_unlikely() -> None:
    """The expected share is outvoted."""
    few, many = (pooled(normal(0.02), tests=4, days=days).excursions for days in (10, 100))
    assert few[-1][1] == pytest.approx(0.5 / 20)
    assert many[-1][1] == pytest.approx(0.5 / 110)


def test_a_busy_day_of_all_tests_is_one_day() -> None:
    """Tests share the machine of a day, so its neighbour is counted once."""
    costs = [0.0, 0.001] * 10
    costs[10] = EXCURSION
    shown = shown_noise([series(str(test), costs) for test in range(20)])
    noise = pooled_spread(list(shown.values()), PRIOR)
    assert noise.excursions[0][1] == pytest.approx((2 + 0.5) / 30)


def test_what_sessions_of_a_day_share_counts_once() -> None:
    """Eight runs of an afternoon are one day."""
    sessions = tuple(Session(cost, 0.0, None, "a day") for cost in (0.0, 0.1) * 4)
    assert shown_noise([MetricSeries("a", sessions)]) == {}


def test_own_errors_and_the_yardstick_are_taken_out() -> None:
    """Three quarters of what the yardstick shows, and what the intervals explain, are no noise."""
    random = np.random.default_rng(2)
    machine = random.normal(0, 0.1, 50)
    sessions = tuple(
        Session(float(value), 0.0, Pace(math.exp(value), math.exp(value)), str(day))
        for day, value in enumerate(machine)
    )
    (exact,) = shown_noise([MetricSeries("a", sessions)]).values()
    assert exact.variance == pytest.approx(0.025**2, rel=0.4)
    measured = random.normal(0, 0.03, 50).tolist()
    (unsure,) = shown_noise([series("a", measured, error=0.04)]).values()
    assert unsure.variance == LEAST_NOISE**2


def test_metrics_of_a_test_are_one_piece_of_evidence() -> None:
    """Throughput and p50 of a closed loop say the same."""
    values = np.random.default_rng(3).normal(0, 0.02, 20).tolist()
    once, twice = (shown_noise([series("a", values)] * count)["a"] for count in (1, 2))
    assert (once.variance, once.freedom) == pytest.approx((twice.variance, twice.freedom))
