"""Accuracy: Wilson's interval, and the paired loss on the same rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.core.statistics.accuracy import paired_loss, wilson

_PAIRS = st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200)).filter(any)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    """The interval of a share is Wilson's, as scipy computes it; at 95 % unless it is said."""
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
    """Whoever is called the base, the same evidence is found, with the sign turned."""
    only_base, only_candidate, agreed = counts
    rows = only_base + only_candidate + agreed
    one = paired_loss(only_base, only_candidate, rows)
    other = paired_loss(only_candidate, only_base, rows)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.low <= one.value <= one.high


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
