"""What pairs of processes differ by, and what they decide."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.pair_effects import (
    LOOKS,
    PAIR_NOISE,
    PRIOR_FREEDOM,
    PairBounds,
    Spread,
    look_at,
    next_look,
    share_of_look,
    spread_of,
)

FIVE = math.log(1.05)
BOUNDS = PairBounds(0.0, FIVE, 0.01, 0.01)
VAGUE = Spread(0.02, 1)

effects_of_pairs = st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=30).map(np.array)


@pytest.mark.parametrize("pairs", [2, 4, 8])
@pytest.mark.parametrize("tail", [0.05, 0.025, 0.0075])
def test_pairs_as_noisy_as_the_prior_have_students_interval(pairs: int, tail: float) -> None:
    """With the degrees of freedom of both."""
    effects = np.random.default_rng(pairs).normal(0.05, 0.02, pairs)
    prior = Spread(float(np.std(effects, ddof=1)), 4)
    reach = stats.t.isf(tail, 4 + pairs - 1) * stats.sem(effects)

    assert prior.reach(effects, tail) == pytest.approx(reach)


def test_one_pair_reaches_as_far_as_the_prior() -> None:
    """Its own spread is not known."""
    reach = Spread().reach(np.array([0.3]), 0.01)

    assert reach == pytest.approx(PAIR_NOISE * stats.t.isf(0.01, PRIOR_FREEDOM))


@pytest.mark.parametrize("pairs", [1, 2, 5])
@pytest.mark.parametrize("prior", [Spread(), VAGUE])
def test_the_posterior_mass_beyond_the_reach(pairs: int, prior: Spread) -> None:
    """Drawn from the posterior of mean and variance, as Gelman et al. (2013) give it."""
    random = np.random.default_rng(3)
    effects = random.normal(0.0, 0.03, pairs)
    freedom = prior.freedom + pairs - 1
    squares = prior.freedom * prior.noise**2 + float(((effects - effects.mean()) ** 2).sum())
    variances = squares / random.chisquare(freedom, 400_000)
    means = effects.mean() + np.sqrt(variances / pairs) * random.standard_normal(400_000)

    beyond = (means > effects.mean() + prior.reach(effects, 0.025)).mean()

    assert beyond == pytest.approx(0.025, abs=0.001)


def test_an_error_that_all_pairs_share_is_not_averaged() -> None:
    """With a thousand pairs it is all that is left."""
    effects = np.random.default_rng(1).normal(0.0, 0.001, 1000)

    assert Spread().reach(effects, 0.01, error=0.01) == pytest.approx(0.0233, abs=0.0002)


@given(effects_of_pairs, st.floats(-0.5, 0.5))
def test_reach_knows_neither_place_nor_order(effects: np.ndarray, moved: float) -> None:
    """Nor sign: it favours neither side."""
    reach = Spread().reach(effects, 0.01)

    for same in (effects + moved, effects[::-1], -effects):
        assert Spread().reach(same, 0.01) == pytest.approx(reach, abs=1e-9)


def test_the_tails_of_latencies_differ_more() -> None:
    """Three fifths of what a budget must find; of rates two fifths, and 2 % at least."""
    noise = {name: spread_of(METRICS[name]).noise for name in SLOTTED}

    assert noise["throughput"] == pytest.approx(PAIR_NOISE)
    assert noise["p50"] == pytest.approx(0.03)
    assert noise["p95"] == pytest.approx(0.06)
    assert noise["p99"] == pytest.approx(0.15)


@pytest.mark.parametrize(("noise", "freedom"), [(0.0, 4), (-1.0, 4), (math.inf, 4), (0.02, 0)])
def test_a_spread_that_is_none(noise: float, freedom: int) -> None:
    """It would decide on anything."""
    with pytest.raises(ValueError, match="degrees of freedom"):
        Spread(noise, freedom)


@pytest.mark.parametrize(
    ("allowed", "line", "alpha", "beta"),
    [(0.1, 0.05, 0.01, 0.01), (math.nan, 0.05, 0.01, 0.01), (0, 0.05, 0, 0.01), (0, 0.05, 0.01, 1)],
)
def test_bounds_that_make_no_sense(allowed: float, line: float, alpha: float, beta: float) -> None:
    """Named, with what is expected."""
    with pytest.raises(ValueError, match=r"allowed <= line|a probability"):
        PairBounds(allowed, line, alpha, beta)


def test_looks_spend_the_rate_and_no_more() -> None:
    """Nine tenths by the twentieth pair, in proportion to the pairs; all of it in the end."""
    assert [share_of_look(pairs) for pairs in (0, 1, 7, 19, 21)] == [0.0] * 5
    spent = np.cumsum([share_of_look(look) for look in LOOKS])
    np.testing.assert_allclose(spent, 0.9 * np.array(LOOKS) / 20)
    look, total = 0, 0.0
    for _ in range(60):
        look = next_look(look)
        assert share_of_look(look) > 0
        total += share_of_look(look)
    assert 0.99 < total < 1.0


@pytest.mark.parametrize("pairs", [2, 3, 5, 8, 20, 28])
@pytest.mark.parametrize("allowed", [0.0, 0.03, -0.02])
def test_a_look_is_a_t_test_at_its_share(pairs: int, allowed: float) -> None:
    """FAIL from the loss on at which the lower end passes the allowed one; PASS below the line."""
    noise = np.random.default_rng(pairs).normal(0.0, 0.02, pairs)
    noise -= noise.mean()
    bounds = PairBounds(allowed, allowed + 1.0, 0.01, 0.03)
    low, high = (Spread().reach(noise, rate * share_of_look(pairs)) for rate in (0.01, 0.03))

    assert look_at(noise + allowed + low + 1e-6, bounds, Spread()).decision == "FAIL"
    assert look_at(noise + allowed + low - 1e-6, bounds, Spread()).decision != "FAIL"
    assert look_at(noise + bounds.line - high - 1e-6, bounds, Spread()).low > allowed
    tight = PairBounds(bounds.line, bounds.line, 0.01, 0.03)
    assert look_at(noise + tight.line - high - 1e-6, tight, Spread()).decision == "PASS"
    assert look_at(noise + tight.line - high + 1e-6, tight, Spread()).decision is None


@given(effects_of_pairs)
def test_the_interval_is_what_decided(effects: np.ndarray) -> None:
    """A FAIL has all of it beyond the allowed loss, a PASS all of it below the line."""
    seen = look_at(effects, BOUNDS, Spread())

    assert seen.low <= seen.mean <= seen.high
    if share_of_look(len(effects)):
        assert (seen.decision == "FAIL") == (seen.low > BOUNDS.allowed)
        assert (seen.decision == "PASS") == (seen.high < BOUNDS.line and seen.low <= BOUNDS.allowed)
    else:
        assert seen.decision is None


@given(effects_of_pairs)
def test_fail_and_pass_are_of_the_same_strength(effects: np.ndarray) -> None:
    """With the sides exchanged, and the lines, the one is the other."""
    mirrored = PairBounds(-BOUNDS.line, -BOUNDS.allowed, 0.01, 0.01)
    seen = look_at(effects, BOUNDS, Spread()).decision
    other = look_at(-effects, mirrored, Spread()).decision

    both_proven = look_at(effects, BOUNDS, Spread()).high < BOUNDS.line and seen == "FAIL"
    if not both_proven:
        assert (seen, other) in {("FAIL", "PASS"), ("PASS", "FAIL"), (None, None)}


def test_learning_from_earlier_duels() -> None:
    """Their variances about their own means, by degrees of freedom; never worth more than 12."""
    assert Spread().learnt_from([]) == Spread()
    assert Spread().learnt_from([(0.1,), (0.2,)]) == Spread()  # one pair shows no spread

    few = Spread().learnt_from([(0.50, 0.52), (-0.3, -0.28, -0.26)])
    variance = (4 * 0.02**2 + 0.0002 + 0.0008) / 7
    assert few.freedom == 7
    assert few.noise == pytest.approx(math.sqrt(variance))

    random = np.random.default_rng(0)
    many = Spread().learnt_from([random.normal(0, 0.005, 20) for _ in range(40)])
    assert many.freedom == 16
    assert many.noise == pytest.approx(math.sqrt((4 * 0.02**2 + 12 * 0.005**2) / 16), rel=0.02)
