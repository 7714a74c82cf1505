"""The throughput-latency curve and its knee."""

from __future__ import annotations

import pytest
from builders import estimate, make_measurement

from pytest_dlperf.errors import UsageError
from pytest_dlperf.measure.sweep import CLIENTS, Point, Sweep, checked_clients
from pytest_dlperf.statistics.estimate import Estimate

SERVICE = 0.001


def replicas_of_one(replicas: int, clients: int) -> Point:
    """Deterministic replicas that take one request at a time, and clients that do not think."""
    throughput = min(clients, replicas) / SERVICE
    latency = estimate(clients / throughput)
    return Point(clients, estimate(throughput), latency, latency, latency, 1.0, 0.0)


def sweep(*points: Point) -> Sweep:
    """A curve."""
    return Sweep(points, make_measurement())


@pytest.mark.parametrize("replicas", [1, 2, 8, 64])
def test_the_knee_of_replicas(replicas: int) -> None:
    """With c deterministic replicas the knee is at c clients: all busy, nobody waiting."""
    curve = sweep(*(replicas_of_one(replicas, clients) for clients in CLIENTS))

    assert curve.knee is not None
    assert curve.knee.clients == replicas


def test_power() -> None:
    """Throughput over mean latency: 2,000/s at 1 ms is 2 million."""
    assert replicas_of_one(2, 2).power == pytest.approx(2e6)


def test_points_without_a_throughput_are_no_knee() -> None:
    """What too few requests do not tell is left out; without any there is no knee."""
    unknown = Point(1, None, None, None, None, 1.0, 0.0)

    assert sweep(unknown).knee is None
    assert sweep(unknown, replicas_of_one(2, 2)).knee == replicas_of_one(2, 2)


def test_the_table() -> None:
    """A printed sweep is a table with the knee marked, and a dash for what is not known."""
    unsure = Point(4, Estimate(1500.0, 1400.0, 1600.0), estimate(0.002), None, None, 2.5, 0.125)

    assert str(sweep(replicas_of_one(2, 1), replicas_of_one(2, 2), unsure)).splitlines() == [
        "clients  throughput   p50   p99  mean  batch   errors",
        "      1     1,000/s  1 ms  1 ms  1 ms    1.0   0.00 %",
        "      2     2,000/s  1 ms  1 ms  1 ms    1.0   0.00 %  <- knee",
        "      4     1,500/s  2 ms     -     -    2.5  12.50 %",
    ]


def test_points_rise() -> None:
    """A curve with two points at one place is none."""
    with pytest.raises(ValueError, match="rising numbers of clients"):
        sweep(replicas_of_one(1, 2), replicas_of_one(1, 2))
    with pytest.raises(ValueError, match="rising numbers of clients"):
        sweep()


def test_clients_are_sorted() -> None:
    """In whatever order and however often they are given."""
    assert checked_clients([8, 1, 8, 2]) == (1, 2, 8)


@pytest.mark.parametrize(
    ("clients", "problem"),
    [
        ((), "has no points"),
        ((1, 0), "expected a whole number of at least 1"),
        ((1, 2.5), "expected a whole number of at least 1"),
        (64, "expected numbers"),
    ],
)
def test_what_are_no_clients(clients: object, problem: str) -> None:
    """Numbers that are none are refused in words."""
    with pytest.raises(UsageError, match=problem):
        checked_clients(clients)  # type: ignore[arg-type]  # the mistake
