"""What pairs of processes differ by."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.statistics.pair_effects import (
    LOOKS,
    NOTHING_KNOWN,
    PAIR_NOISE,
    PRIOR_FREEDOM,
    Spread,
    between_pair_spread,
    excludes,
    pairs_needed,
    second_opinion,
    spread_of,
    with_pair_effects,
)

FIVE = math.log(1.05)
NO_PAIRS = np.zeros(0)
SPENT = {3: 0.6, 5: 0.25, 8: 0.15}
"""Shares of the error rates, by the number of fresh pairs."""

effects_of_pairs = st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=10).map(np.array)


def opinion(
    fresh: np.ndarray,
    first: np.ndarray = NO_PAIRS,
    *,
    allowed: float = 0.0,
    spread: Spread = NOTHING_KNOWN,
) -> str | None:
    """The second opinion with 5 % for both errors, on a loss of 5 %."""
    return second_opinion(
        fresh, first, allowed=allowed, line=FIVE, alpha=0.05, beta=0.05, spread=spread
    )


@pytest.mark.parametrize("pairs", [2, 4, 8])
@pytest.mark.parametrize("tail", [0.05, 0.025, 0.0075])
def test_without_a_prior_it_is_students_interval(pairs: int, tail: float) -> None:
    """As SciPy has it, over the pairs' own effects."""
    effects = np.random.default_rng(pairs).normal(0.05, 0.02, pairs)
    mean = effects.mean()
    _, high = stats.t.interval(1 - 2 * tail, pairs - 1, mean, stats.sem(effects))

    assert NOTHING_KNOWN.reach(effects, tail) == pytest.approx(high - mean)


def test_one_pair_reaches_as_far_as_the_prior() -> None:
    """`t(0.95, 4) 2 %` with the prior; infinite without one."""
    pair = np.array([0.1])

    assert Spread(0.02, 4).reach(pair, 0.05) == pytest.approx(0.02 * stats.t.ppf(0.95, 4))
    assert NOTHING_KNOWN.reach(pair, 0.05) == math.inf


@pytest.mark.parametrize("pairs", [1, 2, 5])
@pytest.mark.parametrize("prior", [Spread(), Spread(0.04, 9)])
def test_the_posterior_mass_beyond_the_reach(pairs: int, prior: Spread) -> None:
    """The posterior mass beyond the reach is `tail`, integrated over variances."""
    # The prior of the mean is flat, that of the variance a scaled inverse chi-square.
    effects = np.random.default_rng(pairs).normal(0.0, 0.03, pairs)
    logs = np.linspace(math.log(1e-8), math.log(10.0), 20_001)
    variance = np.exp(logs)
    half = prior.freedom / 2
    before = stats.invgamma.logpdf(variance, half, scale=half * prior.noise**2)
    squares = ((effects - effects.mean()) ** 2).sum()
    likely = -(pairs - 1) / 2 * logs - squares / (2 * variance)
    believed = np.exp(before + likely + logs - (before + likely + logs).max())

    reach = prior.reach(effects, 0.03)
    beyond = stats.norm.sf(reach, scale=np.sqrt(variance / pairs))
    assert (believed * beyond).sum() / believed.sum() == pytest.approx(0.03, rel=1e-6)


def test_many_pairs_outvote_the_prior() -> None:
    """Of a thousand pairs that differ by 1 %, a prior of 20 % is hardly noticed."""
    effects = np.random.default_rng(0).normal(0.0, 0.01, 1000)

    least = NOTHING_KNOWN.reach(effects, 0.05)
    assert least < Spread(0.2, 1).reach(effects, 0.05) < 1.3 * least


@given(effects_of_pairs, st.floats(0.01, 0.4), st.floats(-0.5, 0.5))
def test_reach_knows_neither_place_nor_order(
    effects: np.ndarray, tail: float, place: float
) -> None:
    """A common effect, another sign or another order change nothing; a smaller tail is farther."""
    spread = Spread()
    reach = spread.reach(effects, tail)

    assert reach > 0
    for same in (effects + place, -effects, effects[::-1]):
        assert spread.reach(same, tail) == pytest.approx(reach, rel=1e-6)
    assert spread.reach(effects, tail / 2) > reach


def test_the_tails_of_latencies_differ_more() -> None:
    """The prior is 2 % for a `detect` of 5 %, two fifths of larger ones; never the user's own."""
    exact = np.zeros(2)
    noise = {name: spread_of(METRICS[name], exact).noise for name in SLOTTED}

    assert noise["throughput"] == noise["p50"] == pytest.approx(PAIR_NOISE)
    assert noise["p95"] == pytest.approx(0.04)
    assert noise["p99"] == pytest.approx(0.10)
    sharp = replace(METRICS["p95"], detect=0.01)
    assert spread_of(sharp, exact) == spread_of(METRICS["p95"], exact)


def test_errors_are_joined_by_squares() -> None:
    """2 % between pairs and errors of 1 and 2 %, whose mean square is 2.5 / 10,000."""
    spread = spread_of(METRICS["throughput"], np.array([0.01, 0.02]))

    assert spread.noise == pytest.approx(math.sqrt(0.0004 + 0.00025))
    assert spread.freedom == PRIOR_FREEDOM


def test_what_is_excluded_is_beyond_the_upper_end() -> None:
    """By SciPy's one-sided t-test of one sample, without a prior."""
    random = np.random.default_rng(0)
    decisions = []
    for _ in range(200):
        effects = random.normal(0.02, 0.02, 4)
        plainly = stats.ttest_1samp(effects, FIVE, alternative="less").pvalue < 0.05
        assert excludes(effects, FIVE, 0.05, NOTHING_KNOWN) == plainly
        decisions.append(plainly)

    assert 0 < sum(decisions) < 200


@given(effects_of_pairs, st.floats(0.001, 0.2), st.floats(0.0, 0.1))
def test_better_effects_exclude_what_worse_ones_do(
    effects: np.ndarray, line: float, better: float
) -> None:
    """So do a larger loss and a larger error rate."""
    if excludes(effects, line, 0.05, Spread()):
        assert excludes(effects - better - 1e-9, line, 0.05, Spread())
        assert excludes(effects, line + better, 0.05, Spread())
        assert excludes(effects, line, 0.05 + better, Spread())


def test_one_pair_may_exclude_a_loss_only_with_a_prior() -> None:
    """A pair that is 5 % faster does, if pairs are known to differ by 2 %."""
    assert excludes(np.array([-0.05]), FIVE, 0.05, Spread())
    assert not excludes(np.array([-0.05]), FIVE, 0.05, NOTHING_KNOWN)


@pytest.mark.parametrize("pairs", LOOKS)
@pytest.mark.parametrize("allowed", [0.0, 0.03])
def test_a_look_is_a_t_test_at_its_share(pairs: int, allowed: float) -> None:
    """Without a prior and first pairs: SciPy's tests at 60, 25 and 15 % of 5 %, FAIL first."""
    random = np.random.default_rng(pairs)
    level = 0.05 * SPENT[pairs]
    decisions = []
    for _ in range(150):
        fresh = random.normal(random.choice([0.0, 0.03, 0.08]), 0.02, pairs)
        loss = stats.ttest_1samp(fresh, allowed, alternative="greater").pvalue < level
        no_loss = stats.ttest_1samp(fresh, FIVE, alternative="less").pvalue < level
        expected = "FAIL" if loss else "PASS" if no_loss else None
        assert opinion(fresh, allowed=allowed) == expected
        decisions.append(expected)

    assert set(decisions) == {"FAIL", "PASS", None}


@pytest.mark.parametrize("pairs", sorted({*range(12)} - set(LOOKS)))
def test_between_the_looks_nothing_is_decided(pairs: int) -> None:
    """Between the looks nothing is decided, however clear it is."""
    assert opinion(np.full(pairs, 1.0), spread=Spread()) is None
    assert opinion(np.full(pairs, -1.0), spread=Spread()) is None


def test_the_looks_spend_the_whole_rate_and_no_more() -> None:
    """The levels at which looks just begin to FAIL, known spread: together 5 %."""
    known = Spread(0.02, 10**9)
    spent = 0.0
    for pairs in LOOKS:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            fails = opinion(np.full(pairs, middle), spread=known) == "FAIL"
            low, high = (low, middle) if fails else (middle, high)
        spent += stats.norm.sf(high * math.sqrt(pairs) / 0.02)

    assert spent == pytest.approx(0.05, rel=1e-3)


def test_the_loss_of_the_first_pairs_is_no_evidence() -> None:
    """A FAIL is decided by the fresh pairs alone."""
    lost, even = np.full(3, 0.08), np.full(3, 0.02)

    for first in (NO_PAIRS, np.full(2, -0.2), np.full(2, 0.2)):
        assert opinion(lost, first, spread=Spread()) == "FAIL"
        assert opinion(even, first, spread=Spread()) != "FAIL"


def test_no_loss_is_by_all_pairs() -> None:
    """Three fresh pairs about 2.5 % are open; with two first ones at 0 they PASS, at 5 % not."""
    fresh = np.array([0.005, 0.025, 0.045])

    assert opinion(fresh, spread=Spread()) is None
    assert opinion(fresh, np.zeros(2), spread=Spread()) == "PASS"
    assert opinion(fresh, np.full(2, FIVE), spread=Spread()) is None


@given(
    st.sampled_from(LOOKS).flatmap(lambda n: st.lists(st.floats(-0.1, 0.2), min_size=n, max_size=n))
)
def test_slower_pairs_never_turn_a_fail_into_a_pass(effects: list[float]) -> None:
    """The order PASS, None, FAIL follows a common effect on the fresh pairs."""
    fresh = np.array(effects)
    order = ["PASS", None, "FAIL"]

    order_of_decisions = [
        order.index(opinion(fresh + loss, spread=Spread())) for loss in (-0.3, -0.02, 0, 0.3)
    ]

    assert order_of_decisions == sorted(order_of_decisions)
    assert opinion(np.full(len(fresh), 0.3), spread=Spread()) == "FAIL"


def test_pairs_for_a_screen() -> None:
    """The smaller the loss, the more pairs; from one to eight."""
    assert [pairs_needed(math.log1p(loss)) for loss in (0.01, 0.02, 0.03, 0.05, 0.1)] == [
        *(8, 8, 4, 2, 1)
    ]
    assert pairs_needed(FIVE, 1e-9) == 1


@pytest.mark.parametrize("detect", [0.03, 0.05, 0.1])
def test_a_screen_of_so_many_pairs_settles_most_unchanged_code(detect: float) -> None:
    """Pairs that seem slower by one standard error exclude the loss; one pair fewer does not."""
    line = math.log1p(detect)
    pairs = pairs_needed(line)

    def settles(count: int) -> bool:
        """With pairs of just the prior's spread, about one standard error."""
        unit = np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
        around = unit * PAIR_NOISE / (unit.std(ddof=1) if count > 1 else 1.0)
        return excludes(around + PAIR_NOISE / math.sqrt(count), line, 0.05, Spread())

    assert settles(pairs)
    assert pairs == 1 or not settles(pairs - 1)
    effects = np.random.default_rng(0).normal(0.0, PAIR_NOISE, (3000, pairs))
    settled = np.mean([excludes(row, line, 0.05, Spread()) for row in effects])
    assert settled > 0.8


def test_pairs_are_joined_with_the_blocks() -> None:
    """Each side is joined by squares: 3 % down and 1 % up, with 4 % for a pair."""
    known = Spread(0.04 / stats.norm.ppf(0.975), 10**9)

    widened = with_pair_effects(Estimate(0.05, 0.02, 0.06), np.array([0.05]), known)

    assert widened.value == 0.05
    assert widened.low == pytest.approx(0.0, abs=1e-9)
    assert widened.high == pytest.approx(0.05 + math.hypot(0.01, 0.04))
    halved = with_pair_effects(Estimate(0.05, 0.05, 0.05), np.full(4, 0.05), known)
    assert halved.high - 0.05 == pytest.approx(0.04 / 2)


def test_pairs_alone_are_a_t_interval() -> None:
    """Without block noise and prior it is SciPy's t-interval."""
    effects = np.array([0.01, 0.03, 0.05, 0.07, 0.09])
    low, high = stats.t.interval(0.95, 4, 0.05, stats.sem(effects))

    widened = with_pair_effects(Estimate(0.05, 0.05, 0.05), effects, NOTHING_KNOWN)

    assert (widened.low, widened.high) == pytest.approx((low, high))


@given(effects_of_pairs, st.floats(-0.2, 0.2), st.floats(0.0, 0.2), st.floats(0.0, 0.2))
def test_no_side_becomes_narrower(
    effects: np.ndarray, value: float, down: float, up: float
) -> None:
    """The interval widens on both sides, and the point stays."""
    widened = with_pair_effects(Estimate(value, value - down, value + up), effects, Spread())

    assert widened.low < value - down + 1e-12
    assert widened.value == value
    assert widened.high > value + up - 1e-12


def test_the_spread_between_pairs() -> None:
    """The variance between pairs without their own errors; never below 0."""
    random = np.random.default_rng(0)
    errors = np.full(2000, 0.01)
    effects = random.normal(0, 0.02, 2000) + random.normal(0, 0.01, 2000)

    assert between_pair_spread(effects, errors) == pytest.approx(0.02, rel=0.1)
    assert between_pair_spread(np.array([0.01, 0.01]), errors[:2]) == 0.0
    assert between_pair_spread(np.array([0.01]), errors[:1]) == 0.0
