"""Time buckets: equal intervals of time, whose number is bounded."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.load.accumulator import TimeBuckets


@given(st.floats(1e-6, 1e5), st.integers(0, 10**18), st.lists(st.integers(0, 10**15), min_size=1))
def test_every_time_has_its_bucket(seconds: float, started: int, offsets: list[int]) -> None:
    """However long a run takes, there are 400 buckets at most, in order, each in its point."""
    buckets = TimeBuckets(started, seconds)
    ends = started + np.sort(np.array(offsets, np.int64))
    buckets.reach(int(ends[-1]))

    bucket = buckets.bucket(ends)

    span = int(ends[-1]) - started
    assert (bucket >= 0).all()
    assert (bucket < buckets.count).all()
    assert (np.diff(bucket) >= 0).all()
    np.testing.assert_array_equal(buckets.point(ends, span), buckets.point_of_buckets(span)[bucket])
    assert buckets.points(span) <= buckets.count


@given(st.floats(1e-6, 1e5), st.integers(1, 10**15), st.integers(1, 10**15))
def test_reaching_step_by_step(seconds: float, near: int, far: int) -> None:
    """How the buckets came to reach so far makes no difference."""
    at_once, by_steps = TimeBuckets(0, seconds), TimeBuckets(0, seconds)

    by_steps.reach(min(near, far))
    by_steps.reach(max(near, far))
    at_once.reach(max(near, far))

    assert (by_steps.width_ns, by_steps.point_ns) == (at_once.width_ns, at_once.point_ns)


def test_a_run_of_its_time_has_200_windows() -> None:
    """Five seconds: buckets of 25 ms, four to a point; what ends on a border belongs before it."""
    buckets = TimeBuckets(1000, 5.0)

    assert buckets.width_ns == 25_000_000
    assert buckets.point_ns == 100_000_000
    ends = 1000 + np.array([0, 1, 25_000_000, 25_000_001, 5_000_000_000])
    assert buckets.bucket(ends).tolist() == [0, 0, 0, 1, 199]
