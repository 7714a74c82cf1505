"""Series: how a load went over time."""

from __future__ import annotations

import pytest
from builders import make_samples, totals_of

from pytest_dlperf.load.samples import Outcome
from pytest_dlperf.results.series import Series, series_of
from pytest_dlperf.statistics.histogram import ERROR

MS = 1_000_000


def within(seconds: float) -> object:
    """A duration to 0.1 %, as curves are."""
    return pytest.approx(seconds, rel=ERROR)


@pytest.mark.parametrize("exact", [0, 10**6])
def test_points_by_hand(exact: int) -> None:
    """Ten points a second: the rate of good answers, their latencies, and the mean queue."""
    samples = make_samples(
        [2, 2, 1],
        [50 * MS, 100 * MS, 350 * MS],
        dispatched_ns=[10 * MS, 60 * MS, 330 * MS],
        intended_ns=[0, 10 * MS, 30 * MS, 50 * MS, 300 * MS],
        outcome=[0, 0, 0, Outcome.EXCEPTION, 0],
    )

    series = series_of(totals_of(samples, seconds=1.0, exact=exact), latencies=True)

    # 350 ms round to four points; the last one is half as long.
    assert series.seconds == pytest.approx((0.0, 0.1, 0.2, 0.3))
    assert series.rate == pytest.approx((30.0, 0.0, 0.0, 20.0))
    assert series.queue == (pytest.approx((10 + 0 + 30 + 10) / 4 * 1e-3), None, None, 0.03)
    assert series.p50 == (within(0.05), None, None, within(0.05))
    assert series.p99 == (within(0.07), None, None, within(0.05))


def test_a_short_rest_joins_the_last_point() -> None:
    """A call that ends just after a border joins the last point, whose rate would be wild alone."""
    samples = make_samples([1] * 11, [20 * MS * (i + 1) for i in range(10)] + [201 * MS])

    series = series_of(totals_of(samples, seconds=0.2), latencies=True)

    assert series.seconds == (0.0, 0.1)
    assert series.rate == pytest.approx((50.0, 6 / 0.101), rel=1e-4)


@pytest.mark.parametrize(
    ("seconds", "points"), [(0.3, 3), (5, 50), (7, 70), (20, 200), (60, 200), (3600, 200)]
)
def test_number_of_points(seconds: float, points: int) -> None:
    """There are ten points a second, and 200 in a run of 20 s or longer."""
    samples = make_samples([1], [int(seconds * 1e9)])

    assert len(series_of(totals_of(samples, seconds=seconds), latencies=True).rate) == points


def test_no_latencies_where_they_mean_nothing() -> None:
    """Offline, where everything waits from the start, there is a rate only."""
    series = series_of(totals_of(make_samples([4], [100 * MS])), latencies=False)

    assert series.rate == (40.0,)
    assert (series.p50, series.p99, series.queue) == ((None,), (None,), (None,))


def test_columns_of_one_length() -> None:
    """A series whose columns differ in length is refused."""
    with pytest.raises(ValueError, match="differ in length"):
        Series(seconds=(0.0,))
