"""Percentiles: how many requests they need, and their intervals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.percentiles import Percentile, mean, percentiles, required_requests
from pytest_dlperf.statistics.run_values import BinnedValues, EachValue

PERCENTS = (50.0, 90.0, 99.0)
PARTS = 256


def of_run(values: np.ndarray, parts: int = PARTS) -> dict[float, Percentile]:
    """The percentiles of values in the order of time, in parts of about the same length."""
    part = np.arange(len(values)) * min(parts, len(values)) // len(values)
    order = np.argsort(values, kind="stable")
    return percentiles(EachValue(values[order].astype(np.float64), part[order]), PERCENTS)


@pytest.mark.parametrize("percent", [10, 33.3, 50, 75, 80, 90, 95, 97, 99, 99.5, 99.9])
def test_required_requests_by_brute_force(percent: float) -> None:
    """The floor is the least n for which two or more exceedances are missed in under 1 %."""
    counts = np.arange(2, 10_000)
    enough = stats.binom.cdf(1, counts, 1 - percent / 100) < 0.01
    assert required_requests(percent) == counts[np.argmax(enough)]
    assert enough[np.argmax(enough) :].all()


@pytest.mark.parametrize(
    ("percent", "requests"), [(50, 11), (90, 64), (95, 130), (99, 662), (99.9, 6636)]
)
def test_mlperf_floors(percent: float, requests: int) -> None:
    """The floors are those of MLPerf LoadGen's early stopping."""
    assert required_requests(percent) == requests


@given(st.floats(1, 99.99))
def test_floor_is_the_least(percent: float) -> None:
    """One request fewer would not be enough."""
    needed = required_requests(percent)
    share = 1 - percent / 100
    assert stats.binom.cdf(1, needed, share) < 0.01 * (1 + 1e-9)
    assert stats.binom.cdf(1, needed - 1, share) >= 0.01 * (1 - 1e-9)


def test_every_percentile_has_its_floor() -> None:
    """Farther out in the tail more requests are needed, for every percentile that is measured."""
    percents = sorted(m.percentile for m in METRICS.values() if m.percentile is not None)
    floors = [required_requests(percent) for percent in percents]
    assert percents == [50, 90, 95, 99, 99.9]
    assert floors == sorted(set(floors))


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 1_000), min_size=1, max_size=200),
    st.integers(1, 40),
    st.sampled_from(PERCENTS),
)
def test_point_is_an_order_statistic(values: list[int], parts: int, percent: float) -> None:
    """The point is a measured value, the order statistic; so are the bounds, on both sides."""
    found = of_run(np.array(values), parts)[percent]

    # In whole numbers, so that no rounding of 99 / 100 can hide a shift by one.
    assert found.value == sorted(values)[int(len(values) * Fraction(int(percent), 100))]
    assert found.low <= found.value
    assert found.high is None or found.value <= found.high <= max(values)
    assert (found.high is None) == (found.longer > 1)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(300, 3_000), st.floats(1e-6, 1e3))
def test_another_unit_changes_nothing_else(seed: int, count: int, unit: float) -> None:
    """Latencies in other units have the bounds in these units."""
    random = np.random.default_rng(seed)
    values = np.exp(
        random.normal(0, 0.3, count) + np.repeat(random.normal(0, 0.2, 10), count)[:count]
    )
    for found, scaled in zip(of_run(values).values(), of_run(values * unit).values(), strict=True):
        assert scaled.value == pytest.approx(found.value * unit)
        assert scaled.low == pytest.approx(found.low * unit)
        assert (scaled.high is None) == (found.high is None)
        assert scaled.high is None or scaled.high == pytest.approx((found.high or 0) * unit)


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_the_order_within_a_part_does_not_matter(seed: int) -> None:
    """What a part of the run holds is counted, not when in the part it was."""
    random = np.random.default_rng(seed)
    parts = random.lognormal(0, 0.5, (PARTS, 8))

    assert of_run(random.permuted(parts, axis=1).ravel()) == of_run(parts.ravel())


def test_the_order_of_the_parts_does() -> None:
    """The same latencies, sorted by time, hang together all the run: nothing is known of it."""
    values = np.random.default_rng(1).lognormal(0, 0.5, 10_000)
    mixed, ordered = of_run(values), of_run(np.sort(values))
    for percent in PERCENTS:
        assert mixed[percent].value == ordered[percent].value
        assert mixed[percent].high is not None
        assert ordered[percent].high is None
        assert ordered[percent].longer > 10


def test_nothing_varies() -> None:
    """Equal values have no width."""
    for found in of_run(np.full(1000, 0.005)).values():
        assert found == Percentile(0.005, 0.005, 0.005, 1.0, 0.005)


def test_percentiles_of_one_run_are_in_order() -> None:
    """A higher percentile is never below a lower one, nor are its bounds."""
    found = of_run(np.random.default_rng(2).lognormal(size=20_000))
    for name in ("value", "low", "high"):
        ends = [getattr(found[percent], name) for percent in PERCENTS]
        assert ends == sorted(ends)
        assert ends[0] < ends[-1]


def test_a_histogram_has_the_same_bounds() -> None:
    """Counted in bins, every value is that of its bin, whether bins and parts are empty or not."""
    random = np.random.default_rng(3)
    values = random.integers(1, 60, 8_000) * np.repeat(random.integers(1, 3, 100), 80)
    part = np.arange(len(values)) * 50 // len(values) * 2
    counts = np.zeros((101, 125), np.int64)
    np.add.at(counts, (part, values), 1)
    order = np.argsort(values)

    binned = percentiles(BinnedValues(counts, np.arange(125.0)), PERCENTS)

    assert binned == percentiles(EachValue(values[order].astype(float), part[order] // 2), PERCENTS)


def test_values_that_came_too_late_are_in_the_last_part() -> None:
    """Requests without an answer count with what they had waited, in a histogram as elsewhere."""
    random = np.random.default_rng(4)
    values = np.append(random.integers(1, 60, 5_000), np.full(200, 50))
    part = np.append(np.arange(5_000) * 50 // 5_000, np.full(200, 49))
    counts = np.zeros((50, 60), np.int64)
    np.add.at(counts, (part[:5_000], values[:5_000]), 1)
    order = np.argsort(values, kind="stable")

    binned = percentiles(BinnedValues(counts, np.arange(60.0), 200, 50.0), PERCENTS)

    assert binned == percentiles(EachValue(values[order].astype(float), part[order]), PERCENTS)


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0])
def test_width_of_independent_values(percent: float) -> None:
    """Of 10,000 independent requests it is at most 1.3 times that of order statistics."""
    random = np.random.default_rng(5)
    ratios = []
    for _ in range(60):
        values = random.lognormal(0, 0.5, 10_000)
        found = of_run(values)[percent]
        low, high = stats.binom.ppf([0.025, 0.975], 10_000, percent / 100).astype(int)
        ordered = np.sort(values)
        if found.high is not None:
            ratios.append((found.high - found.low) / (ordered[high] - ordered[low - 1]))
    assert len(ratios) >= 57
    assert 1 <= np.median(ratios) <= 1.3


def test_an_overload_has_a_lower_bound() -> None:
    """Latencies that rise all the run have no upper bound, but hardly one is like the first."""
    for found in of_run(np.linspace(0.001, 10, 5_000)).values():
        assert found.high is None
        assert found.low > 0.05


def test_a_burst_is_one_event() -> None:
    """A hundred slow requests in a row are not a hundred: p99 of them has no upper bound."""
    values = np.random.default_rng(6).lognormal(0, 0.1, 10_000)
    values[5_000:5_100] *= 5
    found = of_run(values)

    assert found[50.0].high is not None
    assert found[99.0].high is None
    assert found[99.0].longer > 1


def test_slow_drift_of_a_steady_target() -> None:
    """Where blocks differ by a hundredth, even p99 of a drifting target has a narrow interval."""
    random = np.random.default_rng(7)
    drift = 1 + 0.005 * np.sin(np.linspace(0, 3, 10_000))
    found = of_run(drift * random.normal(1, 0.002, 10_000))[99.0]

    assert found.high is not None
    assert found.high / found.low < 1.05


def test_mean_of_independent_values() -> None:
    """The mean of independent values has nearly Student's interval; in bins it is the same."""
    values = np.random.default_rng(8).integers(1, 60, 10_000)
    part = np.arange(10_000) * PARTS // 10_000
    counts = np.zeros((PARTS, 60), np.int64)
    np.add.at(counts, (part, values), 1)
    order = np.argsort(values)

    found = mean(EachValue(values[order].astype(float), part[order]))

    low, high = stats.t.interval(0.95, 9_999, loc=values.mean(), scale=stats.sem(values))
    assert found.value == pytest.approx(values.mean())
    assert 0.9 <= (found.high - found.low) / (high - low) <= 1.4
    binned = mean(BinnedValues(counts, np.arange(60.0)))
    assert (binned.low, binned.high) == pytest.approx((found.low, found.high))


def test_mean_of_a_wandering_target() -> None:
    """The interval of the mean is that of the slow changes, not of the requests between them."""
    random = np.random.default_rng(9)
    wander = np.repeat(random.normal(1, 0.1, 20), 500)
    values = wander + random.normal(0, 0.01, 10_000)
    order = np.argsort(values)
    found = mean(EachValue(values[order], order * PARTS // 10_000))

    assert found.high - found.low > 2 * 1.96 * 0.1 / 20**0.5 * 0.7
