"""The Pareto front: what nothing else beats in every metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builders import estimate
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.tuning.result import WEIGHED
from pytest_dlperf.tuning.selection import common_metrics, dominates, front

if TYPE_CHECKING:
    from collections.abc import Mapping

    Point = Mapping[str, Estimate]

BOTH = ("throughput", "p99")


def point(throughput: float, p99: float, noise: float = 0.0) -> Point:
    """Two metrics whose intervals reach as far to both sides."""
    return {"throughput": estimate(throughput, noise), "p99": estimate(p99, noise)}


def test_known_front() -> None:
    """More throughput or less latency each have their place; what has neither is off the front."""
    points = [point(100, 1), point(200, 2), point(150, 3), point(300, 5), point(90, 1)]

    assert front(points, BOTH) == (0, 1, 3)


def test_one_metric() -> None:
    """The front of one metric is its best value, and all that equal it."""
    points = [point(100, 1), point(200, 2), point(200, 3)]

    assert front(points, ["throughput"]) == (1, 2)
    assert front(points, ["p99"]) == (0,)


def test_noise_keeps_a_point_on_the_front() -> None:
    """Better by 4 % is better where intervals reach 1 %, and not where they reach 5 %."""
    assert front([point(100, 1, 0.01), point(104, 1, 0.01)], BOTH) == (1,)
    assert front([point(100, 1, 0.05), point(104, 1, 0.05)], BOTH) == (0, 1)


def test_a_worse_value_is_not_made_up_for() -> None:
    """Twice the throughput at a latency that is a little longer beats nothing."""
    assert front([point(100, 1.0), point(200, 1.0001)], BOTH) == (0, 1)


def test_equal_points() -> None:
    """Two that are the same are both on the front."""
    assert front([point(100, 1), point(100, 1)], BOTH) == (0, 1)


def test_a_metric_that_is_not_known() -> None:
    """What lacks a metric neither beats nor is beaten."""
    points = [point(100, 1), {"throughput": counted(50.0)}]

    assert front(points, BOTH) == (0, 1)
    assert common_metrics(points, BOTH) == ("throughput",)
    assert front(points, common_metrics(points, BOTH)) == (0,)


def test_nothing() -> None:
    """No points have no front."""
    assert front([], BOTH) == ()


values = st.floats(0.5, 2.0)
points = st.lists(
    st.fixed_dictionaries(
        {name: st.builds(estimate, values, st.sampled_from([0.0, 0.01, 0.2])) for name in WEIGHED}
    ),
    min_size=1,
    max_size=8,
)


@given(points)
def test_a_front_is_its_own_front(given_points: list[Point]) -> None:
    """Nothing on it is beaten by anything, and something always is on it."""
    places = front(given_points, WEIGHED)
    metrics = [METRICS[name] for name in WEIGHED]
    kept = [given_points[place] for place in places]

    assert kept
    assert front(kept, WEIGHED) == tuple(range(len(kept)))
    assert not any(dominates(other, one, metrics) for one in kept for other in given_points)


@given(points)
def test_what_is_off_the_front_is_beaten(given_points: list[Point]) -> None:
    """For each point that is left out there is one that is no worse in anything."""
    places = set(front(given_points, WEIGHED))
    metrics = [METRICS[name] for name in WEIGHED]

    for place in set(range(len(given_points))) - places:
        assert any(dominates(other, given_points[place], metrics) for other in given_points)
