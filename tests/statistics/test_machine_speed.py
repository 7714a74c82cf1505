"""How far a metric follows the yardstick: learnt from sessions, and unsure until then."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.statistics.machine_speed import UNKNOWN_FOLLOWING, follow, logs_of, mean_pace
from pytest_dlperf.statistics.pace import Pace

NOISE = 0.02


def test_half_the_sum_and_half_the_difference() -> None:
    """Of the logarithms, so that a factor that both parts share has no difference."""
    assert Pace(math.e**3, math.e).logs == pytest.approx([2.0, 1.0])
    assert (Pace(4.0, 6.0).logs - Pace(2.0, 3.0).logs) == pytest.approx([math.log(2), 0.0])
    assert logs_of([]).shape == (0, 2)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_what_is_no_pace(wrong: float) -> None:
    """Seconds above 0, of both parts."""
    for parts in ((wrong, 1.0), (1.0, wrong)):
        with pytest.raises(ValueError, match="yardstick"):
            Pace(*parts)


def test_before_any_session_has_shown_it() -> None:
    """Three quarters of what both parts share, give or take a half; of a difference, nothing."""
    same, apart = np.array([0.2, 0.0]), np.array([0.0, 0.1])

    assert UNKNOWN_FOLLOWING.expected(same) == pytest.approx(0.15)
    assert math.sqrt(UNKNOWN_FOLLOWING.variance(same)) == pytest.approx(0.1)
    assert UNKNOWN_FOLLOWING.expected(apart) == pytest.approx(0.0)
    assert math.sqrt(UNKNOWN_FOLLOWING.variance(apart)) == pytest.approx(0.05)
    assert UNKNOWN_FOLLOWING.variance(np.zeros(2)) == 0


@pytest.mark.parametrize("sides", [[5], [1, 1], [4, 3]])
def test_sessions_of_a_steady_machine_say_nothing(sides: list[int]) -> None:
    """Where the yardstick did not change, or there is one session a side, the prior stands."""
    random = np.random.default_rng(0)
    costs = [random.normal(0, NOISE, count) for count in sides]
    steady = [np.full((count, 2), 0.5) for count in sides]

    following = follow(costs, steady, noise=NOISE, worth=4)

    assert following.weights == pytest.approx(UNKNOWN_FOLLOWING.weights)
    assert following.covariance == pytest.approx(UNKNOWN_FOLLOWING.covariance)
    assert following.pull == pytest.approx(0.0)


def test_it_is_the_posterior_of_a_regression() -> None:
    """Known noise, worth more than any sessions: the textbook's normal posterior."""
    random = np.random.default_rng(1)
    logs, costs = random.normal(0, 0.05, (9, 2)), random.normal(0, NOISE, 9)

    following = follow([costs], [logs], noise=NOISE, worth=1e9)

    moved, varied = logs - logs.mean(axis=0), costs - costs.mean()
    precision = np.diag([4.0, 4.0])
    covariance = np.linalg.inv(precision + moved.T @ moved / NOISE**2)
    weights = covariance @ (precision @ [0.75, 0.0] + moved.T @ varied / NOISE**2)
    assert following.covariance == pytest.approx(covariance)
    assert following.weights == pytest.approx(weights)


@pytest.mark.parametrize(("compute", "memory"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.5)])
def test_what_a_target_is_bound_by_is_learnt(compute: float, memory: float) -> None:
    """After 20 sessions on a machine whose parts vary apart by 8 %, and less sure of it before."""
    random = np.random.default_rng(2)
    logs = random.normal(0, 0.08, (20, 2))
    both = np.column_stack([(logs[:, 0] + logs[:, 1]) / 2, (logs[:, 0] - logs[:, 1]) / 2])
    costs = logs @ [compute, memory] + random.normal(0, NOISE, 20)
    changes = np.array([[0.1, 0.1], [0.1, -0.1]])  # of compute alone, and of memory alone

    few, many = (follow([costs[:count]], [both[:count]], noise=0.05, worth=4) for count in (3, 20))

    assert many.expected(changes) == pytest.approx(
        np.array([0.2 * compute, 0.2 * memory]), abs=0.03
    )
    for change in changes:
        assert many.variance(change) < few.variance(change) < UNKNOWN_FOLLOWING.variance(change)


@given(st.integers(0, 999), st.integers(2, 12), st.floats(0.1, 10))
def test_only_differences_count(seed: int, sessions: int, factor: float) -> None:
    """Neither the unit of the metric nor that of the yardstick matters."""
    random = np.random.default_rng(seed)
    logs, costs = random.normal(0, 0.1, (sessions, 2)), random.normal(0, 0.1, sessions)

    one, other = (
        follow([costs + shift], [logs + shift], noise=NOISE, worth=4)
        for shift in (0.0, math.log(factor))
    )

    assert other.weights == pytest.approx(one.weights)
    assert other.covariance == pytest.approx(one.covariance)


@pytest.mark.simulation
def test_the_noise_that_is_left_is_estimated_without_bias() -> None:
    """Residuals and pull together have as many degrees of freedom as there are differences.

    Without the pull they have up to two fewer, and the noise is taken to be smaller than it is.
    """
    random = np.random.default_rng(3)
    with_pull, without = [], []
    for _ in range(2000):
        logs = random.normal(0, 0.05, (4, 2))
        weights = random.normal([0.75, 0.0], 0.5)
        costs = logs @ weights + random.normal(0, NOISE, 4)
        following = follow([costs], [logs], noise=NOISE, worth=1e9)
        left = float(
            np.sum(
                ((costs - following.expected(logs)) - np.mean(costs - following.expected(logs)))
                ** 2
            )
        )
        without.append(left / NOISE**2)
        with_pull.append((left + following.pull) / NOISE**2)

    assert stats.kstest(with_pull, stats.chi2(3).cdf).pvalue > 1e-3
    assert np.mean(without) < 2.5


def test_the_mean_of_paces() -> None:
    """The geometric one, part by part; of one pace itself."""
    mean = mean_pace(logs_of([Pace(1e-6, 4e-3), Pace(4e-6, 1e-3)]))

    assert (mean.compute, mean.memory) == (pytest.approx(2e-6), pytest.approx(2e-3))
    alone = mean_pace(logs_of([Pace(3e-6, 5e-4)]))
    assert (alone.compute, alone.memory) == (pytest.approx(3e-6), pytest.approx(5e-4))
