"""Accuracy: Wilson's interval, two models on the same rows, and the same seeds on both sides."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.statistics.proportions import (
    accuracy_decision,
    mcnemar,
    paired_loss,
    paired_seeds,
    wilson,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PAIRS = st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200)).filter(any)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    """The interval of a share is Wilson's, as scipy computes it; by default at 95 %."""
    right, rows = counts
    for got, confidence in ((wilson(right, rows), 0.95), (wilson(right, rows, 0.99), 0.99)):
        want = stats.binomtest(right, rows).proportion_ci(confidence, "wilson")
        assert got.value == right / rows
        assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=1e-12)


@given(st.floats(0, 100), st.integers(100, 200))
def test_wilson_of_parts(right: float, rows: int) -> None:
    """Rows that are right only sometimes count in part; the interval stays within 0 and 1."""
    got = wilson(right, rows)
    assert got.value == right / rows
    assert 0 <= got.low <= got.value <= got.high <= 1


def test_paired_loss_by_hand() -> None:
    """Without any disagreement the loss is nothing, within what ten rows can tell."""
    got = paired_loss(0, 0, 10)
    z = stats.norm.ppf(0.975)
    assert got.value == 0
    assert got.high == pytest.approx(z * math.sqrt(2 / 12 / 12))
    assert got.low == pytest.approx(-got.high)


def test_paired_loss_of_a_worse_model() -> None:
    """Twenty rows lost and five won of a thousand: 1.5 points, with Bonett and Price's reach."""
    got = paired_loss(20, 5, 1000)
    p1, p2 = 21 / 1002, 6 / 1002
    reach = 1.959963985 * math.sqrt((p1 + p2 - (p1 - p2) ** 2) / 1002)
    assert got.value == pytest.approx(0.015)
    assert (got.low, got.high) == pytest.approx((p1 - p2 - reach, p1 - p2 + reach))
    assert got.low > 0


@given(_PAIRS)
def test_paired_loss_has_two_sides(counts: tuple[int, int, int]) -> None:
    """With the sides exchanged the evidence has the opposite sign."""
    only_base, only_candidate, agreed = counts
    rows = only_base + only_candidate + agreed
    there = paired_loss(only_base, only_candidate, rows)
    back = paired_loss(only_candidate, only_base, rows)
    assert (there.value, there.low, there.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )
    assert there.low <= there.value <= there.high


@pytest.mark.parametrize("rows", [30, 60])
@pytest.mark.parametrize(
    ("only_base", "only_candidate"),
    [(0.02, 0.02), (0.1, 0.05), (0.2, 0.2), (0.3, 0.05)],
)
def test_paired_loss_covers(rows: int, only_base: float, only_candidate: float) -> None:
    """Enumerated exactly, at least 93 % of outcomes have an interval that holds the true loss."""
    counts = np.array([(b, c) for b in range(rows + 1) for c in range(rows + 1 - b)])
    thirds = np.column_stack([counts, rows - counts.sum(axis=1)])
    shares = [only_base, only_candidate, 1 - only_base - only_candidate]
    odds = stats.multinomial.pmf(thirds, rows, shares)
    likely = odds > 1e-9
    true = only_base - only_candidate
    held = 0.0
    for (b, c), weight in zip(counts[likely], odds[likely], strict=True):
        got = paired_loss(b, c, rows)
        held += weight * (got.low <= true <= got.high)
    assert 0.93 <= held < 1.0


def test_pairing_sees_more() -> None:
    """On the same rows a loss is found that two shares side by side would hide."""
    paired = paired_loss(15, 2, 1000)
    before, after = wilson(950, 1000), wilson(937, 1000)
    assert paired.low > 0
    assert before.low < after.high


@given(_PAIRS, st.floats(0.02, 0.98), st.floats(0.001, 0.999))
def test_paired_loss_widens_with_confidence(
    counts: tuple[int, int, int], less: float, part: float
) -> None:
    """The interval widens with the confidence, which is 95 % by default."""
    only_base, only_candidate, agreed = counts
    rows = only_base + only_candidate + agreed
    narrow = paired_loss(only_base, only_candidate, rows, less)
    wide = paired_loss(only_base, only_candidate, rows, less + part * (1 - less))
    assert wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high
    assert paired_loss(only_base, only_candidate, rows, 0.95) == paired_loss(
        only_base, only_candidate, rows
    )


def test_mcnemar_is_every_way_to_toss_the_coins() -> None:
    """For up to twelve rows that differ, the p-value is counted out over all their coins."""
    for differ in range(13):
        heads = np.array([sum(coins) for coins in product((0, 1), repeat=differ)])
        for only_base in range(differ + 1):
            counted_out = float(np.mean(heads >= only_base))
            assert mcnemar(only_base, differ - only_base) == pytest.approx(counted_out, rel=1e-12)


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_mcnemar_is_scipys_binomial_test(only_base: int, only_candidate: int) -> None:
    """The p-value is the one-sided exact one of a fair coin, also for many rows."""
    differ = only_base + only_candidate
    want = stats.binomtest(only_base, differ, alternative="greater").pvalue if differ else 1.0
    assert mcnemar(only_base, only_candidate) == pytest.approx(want, rel=1e-9)


def _tables(rows: int, most: int) -> NDArray[np.int64]:
    """All counts of rows that one model alone has right, up to `most` of them in all."""
    most = min(rows, most)
    return np.array([(b, c) for b in range(most + 1) for c in range(most + 1 - b)])


def _odds(tables: NDArray[np.int64], rows: int, loss: float, differ: float) -> NDArray[np.float64]:
    """The probability of each table, for a true loss and a share of rows that differ."""
    cells = np.column_stack([tables, rows - tables.sum(axis=1)])
    shares = [(differ + loss) / 2, (differ - loss) / 2, 1 - differ]
    odds: NDArray[np.float64] = stats.multinomial.pmf(cells, rows, shares)
    return odds


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("rows", range(1, 13))
def test_a_model_no_worse_fails_no_more_than_alpha(rows: int, alpha: float) -> None:
    """Enumerated over all tables, equal models FAIL `alpha` of the time at the most."""
    tables = _tables(rows, rows)
    fails = np.array(
        [
            accuracy_decision(b, c, rows, allowed=0, line=0.01, alpha=alpha, beta=0.05) == "FAIL"
            for b, c in tables.tolist()
        ]
    )
    for differ in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert _odds(tables, rows, 0.0, differ)[fails].sum() <= alpha
    assert fails.any() == (0.5**rows < alpha)


@pytest.mark.parametrize("rows", [150, 400])
@pytest.mark.parametrize("loss", [0.02, 0.05])
def test_errors_at_the_lines(rows: int, loss: float) -> None:
    """Enumerated: of models at `line`, 5 % pass; of models at `allowed`, 1 % fail; plus a fifth."""
    tables = _tables(rows, 160 if rows == 400 else 120)
    differs = tables.sum(axis=1) > 0
    bounds = {"alpha": 0.01, "beta": 0.05}
    passes, fails, short = (
        np.array(
            [
                accuracy_decision(b, c, rows, allowed=allowed, line=line, **bounds) == wanted
                for b, c in tables.tolist()
            ]
        )
        for allowed, line, wanted in (
            (0.0, loss, "PASS"),
            (loss, 2 * loss, "FAIL"),
            (-loss, 0.0, "FAIL"),
        )
    )
    for times in (1, 1.1, 1.5, 2, 4, 6):
        odds = _odds(tables, rows, loss, loss * times)
        assert odds.sum() > 1 - 1e-4
        assert odds[passes & differs].sum() <= 0.06
        assert odds[fails].sum() <= 0.012
        # A gain of as much as is demanded must not fail either.
        assert _odds(tables, rows, -loss, loss * times)[short].sum() <= 0.012
    # Where many rows differ, no evidence is given away.
    assert odds[passes & differs].sum() >= 0.04
    assert odds[fails].sum() >= 0.004


@given(_PAIRS, st.sampled_from([0.05, 0.01, 0.001]))
def test_beyond_no_loss_mcnemar_alone_decides(counts: tuple[int, int, int], alpha: float) -> None:
    """Where no loss is allowed the exact test says what FAILs, of few rows that differ too."""
    for only_base, only_candidate, agreed in (counts, (10, 0, 990)):
        rows = only_base + only_candidate + agreed
        got = accuracy_decision(
            only_base, only_candidate, rows, allowed=0, line=0.01, alpha=alpha, beta=0.05
        )
        assert (got == "FAIL") == (mcnemar(only_base, only_candidate) < alpha)


def test_the_interval_alone_would_pass_too_many() -> None:
    """Where every row that differs is a loss, Bonett and Price's end passes twice as many."""
    rows, line = 400, 0.02
    tables = _tables(rows, 60)
    below = np.array([paired_loss(b, c, rows, 0.9).high < line for b, c in tables.tolist()])
    odds = _odds(tables, rows, line, line)
    assert odds[below].sum() > 0.09


@pytest.mark.parametrize(
    ("only_base", "only_candidate", "allowed", "line", "wanted"),
    [
        (20, 5, 0.0, 0.01, "FAIL"),
        (5, 20, 0.0, 0.01, "PASS"),
        (10, 6, 0.0, 0.01, None),
        (20, 5, 0.03, 0.03, "PASS"),
        (20, 5, 0.01, 0.01, None),
        (40, 5, 0.005, 0.01, "FAIL"),
        (3, 0, 0.0, 0.01, "PASS"),
        (0, 0, 0.0, 0.0, None),
        (0, 0, -0.01, -0.01, "FAIL"),
        (5, 22, -0.01, -0.01, None),
        (2, 60, -0.01, -0.01, "PASS"),
        (500, 0, 0.2, 0.3, "FAIL"),
        (500, 500, 0.0, 1.0, "PASS"),
        (0, 1000, 0.0, 2.0, "PASS"),
    ],
)
def test_decisions_on_a_thousand_rows(
    only_base: int, only_candidate: int, allowed: float, line: float, wanted: str | None
) -> None:
    """A loss that is proven FAILs, one that is excluded passes, and the rest stays open."""
    got = accuracy_decision(
        only_base, only_candidate, 1000, allowed=allowed, line=line, alpha=0.01, beta=0.05
    )
    assert got == wanted


@pytest.mark.parametrize("rows", [1, 20, 1000])
def test_row_for_row_as_before(rows: int) -> None:
    """The same rows right are a PASS, however few they are; no rows at all say nothing."""
    bounds = {"allowed": 0.0, "line": 0.01, "alpha": 0.01, "beta": 0.05}
    assert accuracy_decision(0, 0, rows, **bounds) == "PASS"
    assert accuracy_decision(0, 0, 0, **bounds) is None


@given(_PAIRS, st.floats(0, 0.1), st.floats(0, 0.1))
def test_more_losses_never_help(
    counts: tuple[int, int, int], allowed: float, further: float
) -> None:
    """One more row lost never turns a FAIL into less, nor anything into a PASS."""
    only_base, only_candidate, agreed = counts
    rows = only_base + only_candidate + agreed + 1
    order = {"PASS": 0, None: 1, "FAIL": 2}
    before, after = (
        order[
            accuracy_decision(
                only_base + more,
                only_candidate,
                rows,
                allowed=allowed,
                line=allowed + further,
                alpha=0.01,
                beta=0.05,
            )
        ]
        for more in (0, 1)
    )
    assert before <= after


@given(st.lists(st.tuples(st.integers(0, 64), st.integers(0, 64)), min_size=2, max_size=10))
def test_seeds_are_scipys_exact_permutation_test(pairs: list[tuple[int, int]]) -> None:
    """All flips of signs are looked at; ties, and seeds without a difference, count as they do."""
    base, candidate = np.array(pairs, dtype=np.float64).T / 64
    got = paired_seeds(base, candidate)
    want = stats.permutation_test(
        (base - candidate,),
        np.sum,
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert got.p_value == pytest.approx(want.pvalue, rel=1e-12)
    assert got.floor == 2.0 ** -len(pairs)
    assert got.floor <= got.p_value <= 1


def test_seeds_that_all_lose() -> None:
    """The p-value is at its floor where every seed lost; eight seeds are needed for 0.4 %."""
    base = np.array([0.951, 0.949, 0.953, 0.950, 0.948, 0.952, 0.950, 0.951])
    lost = np.array([0.010, 0.008, 0.012, 0.009, 0.011, 0.010, 0.007, 0.013])
    got = paired_seeds(base, base - lost)
    assert got.p_value == got.floor == 1 / 256
    mean = stats.ttest_1samp(lost, 0.0).confidence_interval(0.95)
    assert got.loss.value == pytest.approx(0.010)
    assert (got.loss.low, got.loss.high) == pytest.approx((mean.low, mean.high))


def test_seeds_that_all_agree() -> None:
    """The same accuracies on both sides are no evidence of anything, and no loss."""
    got = paired_seeds(np.full(5, 0.95), np.full(5, 0.95))
    assert got.p_value == 1.0
    assert got.loss.low == got.loss.value == got.loss.high == 0.0


def test_ties_survive_rounding() -> None:
    """Losses of a tenth, two and three are tied with each other as decimals have it."""
    # 0.3 and 0.1 + 0.2 are not the same float: of eight flips, three reach the sum of 0.
    got = paired_seeds(np.array([0.1, 0.2, 0.0]), np.array([0.0, 0.0, 0.3]))
    assert got.p_value == 5 / 8


def test_many_seeds_are_drawn_from() -> None:
    """With 16 seeds the p-value is near that over all flips, the same each time, with its floor."""
    random = np.random.default_rng(1)
    base = random.normal(0.95, 0.01, 16)
    candidate = base - random.normal(0.002, 0.005, 16)
    flips = 1 - 2 * (np.arange(2**16)[:, np.newaxis] >> np.arange(16) & 1)
    sums = flips @ (base - candidate)
    exact = float(np.mean(sums >= sums[0]))

    got = paired_seeds(base, candidate)

    assert got == paired_seeds(base, candidate)
    assert got.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact / 9999))
    assert got.floor == 1e-4
    assert paired_seeds(base, base - 0.01).p_value == pytest.approx(1e-4)
    assert paired_seeds(base[:13], base[:13] - 0.01).p_value == 2.0**-13


@pytest.mark.parametrize("seeds", [6, 12])
def test_seeds_of_equal_models_fail_no_more_than_alpha(seeds: int) -> None:
    """Of 1,000 pairs of equal models, 5 % have a p-value of at most 5 %, and few less."""
    random = np.random.default_rng(seeds)
    shared = random.normal(0.95, 0.01, (1000, seeds))
    base, candidate = (shared + 0.004 * random.standard_t(3, shared.shape) for _ in range(2))
    ps = np.array([paired_seeds(*sides).p_value for sides in zip(base, candidate, strict=True)])
    low, high = stats.binom.ppf([0.001, 0.999], 1000, 3 / 64 if seeds == 6 else 204 / 4096)
    assert low <= (ps <= 0.05).sum() <= high


@pytest.mark.parametrize(
    ("base", "candidate", "wrong"),
    [
        ([0.9], [0.8], "at least 2"),
        ([], [], "at least 2"),
        ([0.9, 0.8], [0.9], "cannot be paired"),
        ([[0.9, 0.8]], [[0.9, 0.8]], "cannot be paired"),
        ([0.9, math.nan], [0.9, 0.8], "not finite"),
    ],
)
def test_seeds_that_cannot_be_compared(
    base: list[float], candidate: list[float], wrong: str
) -> None:
    """Sides that cannot be paired are refused."""
    with pytest.raises(ValueError, match=wrong):
        paired_seeds(np.array(base), np.array(candidate))
