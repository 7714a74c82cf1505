"""Accuracy: Wilson's interval, and two models on the same rows."""

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
    excluded_loss,
    mcnemar,
    paired_loss,
    proven_loss,
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
        assert odds[passes].sum() <= 0.06
        assert odds[fails].sum() <= 0.012
        # A gain of as much as is demanded must not fail either.
        assert _odds(tables, rows, -loss, loss * times)[short].sum() <= 0.012
    # Where many rows differ, no evidence is given away.
    assert odds[passes].sum() >= 0.04
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


@pytest.mark.parametrize("rows", [1, 10, 360, 100_000])
def test_row_for_row_as_before(rows: int) -> None:
    """The same rows right: nothing was lost on these, however few they are."""
    assert accuracy_decision(0, 0, rows, allowed=0.0, line=0.01, alpha=0.01, beta=0.01) == "PASS"
    assert excluded_loss(0, 0, rows, 0.01) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("rows", [10, 60, 360, 1000])
@pytest.mark.parametrize("rate", [0.01, 0.01 / 3, 0.01 / 8])
def test_no_claim_errs_more_often_than_its_rate(rows: int, rate: float) -> None:
    """Enumerated, whatever share of rows differs: PASS at the line, and FAIL at what is allowed.

    But for rows without any difference, on which nothing was lost, however few they are.
    """
    most = min(rows, 70)
    tables = _tables(rows, most)
    tables = tables[tables.sum(axis=1) > 0]
    for loss in (0.005, 0.01, 0.03):
        bounds = {"alpha": rate, "beta": rate, "allowed": 0.0, "line": loss}
        passes, fails = (
            np.array([accuracy_decision(b, c, rows, **given) == wanted for b, c in tables.tolist()])
            for given, wanted in (
                (bounds, "PASS"),
                ({**bounds, "allowed": loss, "line": 2 * loss}, "FAIL"),
            )
        )
        for alone in (0.0, 0.001, 0.004, 0.01):
            if rows * (loss + 2 * alone) > most / 2:
                continue
            odds = _odds(tables, rows, loss, loss + 2 * alone)
            assert odds[passes].sum() <= 1.05 * rate
            assert odds[fails].sum() <= 1.05 * rate


@given(_PAIRS, st.sampled_from([0.05, 0.01, 0.001]))
def test_what_is_printed_is_what_decided(counts: tuple[int, int, int], rate: float) -> None:
    """A line passes just above the loss that is excluded, and FAILs just below the proven one."""
    b, c, agreed = counts
    rows = b + c + agreed
    out, proven = excluded_loss(b, c, rows, rate), proven_loss(b, c, rows, rate)
    step, never = 1e-6, 1e-12

    def passes(line: float) -> bool:
        found = accuracy_decision(b, c, rows, allowed=line, line=line, alpha=never, beta=rate)
        return found == "PASS"

    def fails(allowed: float) -> bool:
        bounds = {"allowed": allowed, "line": 2.0, "alpha": rate, "beta": never}
        return accuracy_decision(b, c, rows, **bounds) == "FAIL"

    if out < 1 - step:
        assert passes(out + step)
        assert not passes(out - step)
    if proven > step - 1:
        assert fails(proven - step)
        assert not fails(proven + step)
    assert proven <= (b - c) / rows + step
    assert out >= (b - c) / rows - step


def test_no_rows_say_nothing() -> None:
    """Without rows nothing is proven, and no loss is excluded."""
    assert accuracy_decision(0, 0, 0, allowed=0.0, line=0.01, alpha=0.01, beta=0.05) is None
    assert excluded_loss(0, 0, 0, 0.01) == 1
    assert proven_loss(0, 0, 0, 0.01) == -1


@pytest.mark.parametrize("budgets", [1, 3, 8])
@pytest.mark.parametrize(("rows", "flipped"), [(1000, 0.02), (10_000, 0.02), (60_000, 0.03)])
def test_equal_models_with_other_numerics(rows: int, flipped: float, budgets: int) -> None:
    """Of 20,000 pairs of equal models at most 1.15 %, shared by the budgets, FAIL.

    Plus four standard deviations of that count. At the rate of a first look, 5 %, it is 3 to 5 %.
    A true loss of 1 point passes no more often.
    """
    random = np.random.default_rng(rows + budgets)
    rate, sessions = 0.01 / budgets, 20_000
    most = 0.0115 / budgets
    bounds = {"allowed": 0.0, "line": 0.01, "alpha": rate, "beta": rate}
    for loss, wrong in ((0.0, "FAIL"), (0.01, "PASS")):
        shares = [(flipped + loss) / 2, (flipped - loss) / 2, 1 - flipped]
        drawn = random.multinomial(rows, shares, sessions)[:, :2]
        tables, times = np.unique(drawn, axis=0, return_counts=True)
        decided = [accuracy_decision(b, c, rows, **bounds) == wrong for b, c in tables.tolist()]
        count = int(times[decided].sum())
        assert count <= sessions * most + 4 * math.sqrt(sessions * most)


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
