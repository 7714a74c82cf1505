"""Counts of failed calls: exact intervals, and the exact test of two counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.statistics.failure_counts import FailedCalls, more_failures


@given(
    st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.05, 0.01, 0.00125]),
)
def test_the_interval_is_scipys(counts: tuple[int, int], error: float) -> None:
    """Both ends are Clopper and Pearson's, as scipy computes them."""
    failed, calls = counts
    exact = stats.binomtest(failed, calls).proportion_ci(1 - 2 * error, "exact")
    got = FailedCalls(failed, calls)
    assert got.share == failed / calls
    assert (got.low(error), got.high(error)) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_a_part_of_a_call_proves_nothing() -> None:
    """Where a few requests of a call failed, it counts as none or as one, whichever proves less."""
    few, none, one = FailedCalls(0.3, 100), FailedCalls(0, 100), FailedCalls(1, 100)
    assert few.low(0.01) == none.low(0.01) == 0
    assert few.high(0.01) == one.high(0.01)
    assert more_failures(few, none) == 1


@pytest.mark.parametrize(("now", "then"), [(100, 100), (50, 400), (400, 50)])
@pytest.mark.parametrize("share", [0.002, 0.02, 0.3])
def test_equal_shares_are_told_apart_no_more_often_than_alpha(
    now: int, then: int, share: float
) -> None:
    """Enumerated over all counts of both sides."""
    odds = [stats.binom.pmf(np.arange(calls + 1), calls, share) for calls in (now, then)]
    wrong = np.zeros(2)
    for failed in np.flatnonzero(odds[0] > 1e-9).tolist():
        for before in np.flatnonzero(odds[1] > 1e-9).tolist():
            p = more_failures(FailedCalls(failed, now), FailedCalls(before, then))
            wrong += odds[0][failed] * odds[1][before] * (p < np.array([0.05, 0.01]))
    assert (wrong <= [0.05, 0.01]).all()


def test_more_failures_by_hand() -> None:
    """One failure more is a toss of a coin; seven against none is 1 in 128."""
    none = FailedCalls(0, 1000)
    assert more_failures(FailedCalls(1, 1000), none) == pytest.approx(1 / 2)
    assert more_failures(FailedCalls(7, 1000), none) == pytest.approx(1 / 128)
    assert more_failures(none, FailedCalls(7, 1000)) == 1
