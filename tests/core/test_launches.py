"""What pairs of processes differ by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pytest_dlperf.core.statistics.estimate import Estimate
from pytest_dlperf.core.statistics.launches import (
    PAIR_NOISE,
    confirming_pairs,
    confirms,
    launch_spread,
    pairs_needed,
    with_launches,
)

FIVE = math.log(1.05)


@pytest.mark.parametrize("allowed", [0.0, 0.03, 0.05])
def test_confirming_is_a_t_test(allowed: float) -> None:
    """As SciPy's one-sided t-test of one sample has it."""
    random = np.random.default_rng(0)
    for _ in range(50):
        effects = random.normal(0.05, 0.02, 4)
        plainly = stats.ttest_1samp(effects, allowed, alternative="greater").pvalue < 0.05
        assert confirms(effects, allowed, 0.05) == plainly


def test_one_pair_confirms_nothing() -> None:
    """One value has no spread."""
    with pytest.raises(ValueError, match="expected at least two"):
        confirms(np.array([0.1]), 0.0, 0.05)


def test_equal_effects_confirm_what_is_beyond() -> None:
    """Without spread, the mean decides."""
    assert confirms(np.full(4, 0.05), 0.04, 0.05)
    assert not confirms(np.full(4, 0.05), 0.05, 0.05)


def test_pairs_for_a_screen() -> None:
    """The finer the loss, the more launches; never fewer than one or more than eight."""
    assert [pairs_needed(math.log1p(loss)) for loss in (0.01, 0.02, 0.03, 0.05, 0.1)] == [
        *(8, 8, 5, 2, 1)
    ]
    assert pairs_needed(FIVE, 1e-9) == 1


@pytest.mark.parametrize("noise", [0.005, 0.014, 0.02])
def test_a_screen_of_so_many_pairs_sees_half_of_the_loss(noise: float) -> None:
    """The mean of P pairs is below half of 5 % with 1 % at most; that of P - 1 is not."""
    pairs = pairs_needed(FIVE, noise)

    def missed(count: int) -> float:
        return float(stats.norm.cdf(FIVE / 2, FIVE, noise / math.sqrt(count)))

    assert missed(pairs) <= 0.01
    assert pairs == 1 or missed(pairs - 1) > 0.01


@pytest.mark.parametrize("loss", [0.03, 0.05, 0.10])
def test_confirming_pairs_have_the_power(loss: float) -> None:
    """As SciPy's noncentral t has it; one pair fewer has less, or is below three."""

    def power(pairs: int) -> float:
        line = stats.t.ppf(0.95, pairs - 1)
        return float(stats.nct.sf(line, pairs - 1, math.log1p(loss) * pairs**0.5 / PAIR_NOISE))

    pairs = confirming_pairs(math.log1p(loss))

    assert power(pairs) >= 0.98
    assert pairs == 3 or power(pairs - 1) < 0.98


def test_no_more_than_twelve() -> None:
    """Where nothing would do, as many as there may be."""
    assert confirming_pairs(0.001) == 12


def test_few_pairs_are_joined_with_the_prior() -> None:
    """By squares, each side by itself: 3 % down and 1 % up, with 4 % for a pair."""
    prior = 0.04 / stats.norm.ppf(0.975)

    found = with_launches(Estimate(0.05, 0.02, 0.06), np.array([0.05]), prior)

    assert found.value == 0.05
    assert found.low == pytest.approx(0.0)
    assert found.high == pytest.approx(0.05 + math.hypot(0.01, 0.04))
    halved = with_launches(Estimate(0.05, 0.05, 0.05), np.full(2, 0.05), prior)
    assert halved.high - 0.05 == pytest.approx(0.04 / 2**0.5)


def test_enough_pairs_speak_for_themselves() -> None:
    """The t-interval over them, whatever the prior; but no narrower than the blocks' own."""
    effects = np.array([0.01, 0.03, 0.05, 0.07, 0.09])
    low, high = stats.t.interval(0.95, 4, 0.05, stats.sem(effects))

    found = with_launches(Estimate(0.05, 0.04, 0.06), effects, 100.0)
    assert (found.low, found.high) == pytest.approx((low, high))
    wide = Estimate(0.05, -0.1, 0.2)
    assert with_launches(wide, effects) == wide


def test_the_point_is_never_left_out() -> None:
    """Pairs that agree on something else widen the interval towards it."""
    found = with_launches(Estimate(0.05, 0.04, 0.06), np.full(4, 0.0))

    assert (found.low, found.value, found.high) == (0.0, 0.05, 0.06)


def test_the_spread_of_launches() -> None:
    """What is left of the variance without the pairs' own errors; never below 0."""
    random = np.random.default_rng(0)
    errors = np.full(2000, 0.01)
    effects = random.normal(0, 0.02, 2000) + random.normal(0, 0.01, 2000)

    assert launch_spread(effects, errors) == pytest.approx(0.02, rel=0.1)
    assert launch_spread(np.array([0.01, 0.01]), errors[:2]) == 0.0
    assert launch_spread(np.array([0.01]), errors[:1]) == 0.0
