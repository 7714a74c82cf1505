"""The throughput-latency curve, its knee, and a sweep end to end on a fake clock."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import estimate, make_measurement
from fakes import FakeClock, FakeMeter, FakeProgress, TimedTarget, fake_instruments

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.measure.sweep import CLIENTS, Point, Sweep, checked_clients, measure_sweep
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray


SERVICE = 0.001
INPUTS = np.random.default_rng(0).random((200, 4))
LABELS = INPUTS.argmax(axis=1)
MILLISECOND = 1_000_000


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
    """With c deterministic replicas the knee is at c clients: all busy, no request waiting."""
    curve = sweep(*(replicas_of_one(replicas, clients) for clients in CLIENTS))

    assert curve.knee is not None
    assert curve.knee.clients == replicas


def test_power() -> None:
    """Throughput over mean latency: 2,000/s at 1 ms is 2 million."""
    assert replicas_of_one(2, 2).power == pytest.approx(2e6)


def test_points_without_a_throughput_are_no_knee() -> None:
    """Points with too few requests are left out; without others there is no knee."""
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
    """A curve needs increasing numbers of clients."""
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
def test_invalid_clients(clients: object, problem: str) -> None:
    """Anything but positive whole numbers is refused."""
    with pytest.raises(UsageError, match=problem):
        checked_clients(clients)  # type: ignore[arg-type]  # the mistake


def swept(
    target: TimedTarget, clients: tuple[int, ...], instruments: Instruments | None = None
) -> Sweep:
    """Sweep with batches of 8, a second each."""
    the_plan = plan([Options(serving=Serving(8), duration=1.0)])
    data = as_data((INPUTS, LABELS))
    instruments = instruments or fake_instruments(target.clock)
    return measure_sweep(target, data, the_plan, instruments, clients=clients, test="test")


def test_the_curve_of_batches_of_eight() -> None:
    """1 ms a batch: n clients get n thousand a second up to 8, then wait in turn; the knee is 8."""
    target = TimedTarget(FakeClock(), lambda _: MILLISECOND)

    curve = swept(target, (1, 2, 4, 8, 16, 32))

    assert [p.clients for p in curve.points] == [1, 2, 4, 8, 16, 32]
    rates = [p.throughput.value for p in curve.points if p.throughput]
    assert rates == pytest.approx([1000, 2000, 4000, 8000, 8000, 8000], rel=1e-3)
    means = [p.mean.value for p in curve.points if p.mean]
    assert means == pytest.approx([0.001, 0.001, 0.001, 0.001, 0.002, 0.004], rel=0.01)
    assert [p.batch for p in curve.points] == pytest.approx([1, 2, 4, 8, 8, 8])
    assert curve.knee is not None
    assert curve.knee.clients == 8


def test_a_target_is_made_ready_once() -> None:
    """Compiled, asked alone and warmed up before the first point, and never again."""
    target = TimedTarget(FakeClock(), lambda _: MILLISECOND)
    instruments = fake_instruments(target.clock)
    swept(target, (1, 4), instruments)

    assert isinstance(instruments.progress, FakeProgress)
    phases = [
        phase
        for phase, before in zip(
            instruments.progress.phases, ["", *instruments.progress.phases], strict=False
        )
        if phase != before
    ]
    assert phases == [
        "compiling",
        "asking rows alone",
        "warming up",
        "ClosedLoop(clients=1)",
        "ClosedLoop(clients=4)",
    ]


def test_a_percentile_with_too_few_requests_is_left_out() -> None:
    """100 requests carry no p99; the point has the rest."""
    (point,) = swept(TimedTarget(FakeClock(), lambda _: 10 * MILLISECOND), (1,)).points

    assert point.p99 is None
    assert point.p50 is not None
    assert point.throughput is not None


def test_errors_show_in_their_point_and_in_the_whole() -> None:
    """Batches of more than two fail: a point without an answer, and its kind of error."""

    def answer(batch: NDArray[Any]) -> object:
        if len(batch) > 2 and target.clock.now > begun:
            raise MemoryError("too large")
        return batch

    target = TimedTarget(FakeClock(), lambda _: MILLISECOND, answer)
    begun = target.clock.now + 300 * MILLISECOND

    curve = swept(target, (2, 4))

    assert [point.errors for point in curve.points] == [0, 1]
    assert curve.points[1].throughput is None
    (error,) = curve.whole.errors
    assert error.kind == "MemoryError"
    assert curve.whole["errors"].value == pytest.approx(2 / 3, abs=0.01)
    assert curve.whole.scenario == "sweep(clients=2, 4)"


@pytest.mark.real_time
def test_real_clients() -> None:
    """As threads, as many as the point has, and no more: no call carries two requests."""
    progress = FakeProgress()
    callers: dict[str, set[int]] = {}

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        callers.setdefault(progress.phases[-1], set()).add(threading.get_ident())
        time.sleep(0.001)  # lets the other clients' threads run
        return batch.copy()

    the_plan = plan([Options(clients="threads", quick=True)])
    data = as_data((INPUTS, LABELS))
    instruments = Instruments(MonotonicClock(), FakeMeter(), progress)

    curve = measure_sweep(infer, data, the_plan, instruments, clients=(1, 3), test="test")

    assert [point.batch for point in curve.points] == [1, 1]
    assert curve.whole.errors == ()
    assert curve.whole.serving == "Serving(max_batch_size=1, replicas=3), clients=threads"
    assert len(callers["ClosedLoop(clients=1)"]) == 1
    assert len(callers["ClosedLoop(clients=3)"]) == 3
