"""Prepared loads: how long they must last, and that their memory is bounded."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import make_samples, totals_of
from fakes import FakeClock, TimedTarget, fake_instruments

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.load.samples import Outcome
from pytest_dlperf.load.scenarios import ClosedLoop, MultiStream, Offline, Scenario, Server
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.load.summary import summarise_load
from pytest_dlperf.measure.measure import sufficient_seconds
from pytest_dlperf.measure.preparation import prepare_load

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.measure.prepared import LoadResult

    Answer = Callable[[NDArray[Any]], object]

MS = 1_000_000
INPUTS = np.random.default_rng(0).random((100, 2))
SIZE = 1000
CALL_NS = 1_000_000


@pytest.mark.parametrize(
    ("budget", "calls", "seconds"),
    [
        ("p99 <= 1s", 100, 1.2 * 662 * 0.01),  # 662 requests, 10 ms each
        ("p50 <= 1s", 100, 0.0),
        ("throughput >= 1/s", 100, 0.0),
        ("throughput >= 1/s", 5, 1.2 * 20 * 0.01),  # twice ten intervals
        ("p99 <= 1s", 5, 1.2 * 662 * 0.01),
        ("accuracy >= 90%", 5, 0.0),
        ("errors == 0", 5, 0.0),
        ("peak_memory <= 1GiB", 5, 0.0),
    ],
)
def test_seconds_by_hand(budget: str, calls: int, seconds: float) -> None:
    """The requests that a percentile or a rate needs, at the measured rate, plus a fifth."""
    ends = [10 * MS * (i + 1) for i in range(calls)]
    samples = make_samples([1] * calls, ends, intended_ns=[end - MS for end in ends])

    assert sufficient_seconds(totals_of(samples), [parse_budget(budget)]) == pytest.approx(seconds)


def test_more_of_nothing_is_not_asked_for() -> None:
    """A load without a good answer is not made longer."""
    samples = make_samples([1] * 5, [10 * MS] * 5, outcome=[Outcome.EXCEPTION] * 5)

    assert sufficient_seconds(totals_of(samples), [parse_budget("p99 <= 1s")]) == 0.0


def echo(batch: NDArray[Any]) -> NDArray[Any]:
    """Answer well."""
    return batch


def nan(batch: NDArray[Any]) -> NDArray[Any]:
    """Answer badly."""
    return np.full_like(batch, np.nan)


def fail(_: NDArray[Any]) -> NDArray[Any]:
    """Answer not at all."""
    raise ValueError


def run(scenario: Scenario, answer: Answer, calls: int) -> tuple[LoadResult, int]:
    """A run of `calls` calls of 1 ms with 1,000 rows, and the peak of its allocations."""
    clock = FakeClock()
    target = TimedTarget(clock, lambda _: CALL_NS)
    options = Options(scenario=scenario, serving=Serving(SIZE), duration=calls * CALL_NS * 1e-9)
    the_plan = plan([options])
    load = prepare_load(target, as_data((INPUTS, None)), the_plan, fake_instruments(clock))
    target.answer = answer
    tracemalloc.start()
    try:
        loaded = load.run(the_plan.duration, "")
        target.batches.clear()
        summarise_load(loaded.totals, latencies=True)
        return loaded, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("scenario", "answer"),
    [
        (Offline(), echo),
        (Server(0.99e6), echo),
        (Server(3e6), echo),  # three times as many come as are answered
        (ClosedLoop(3000), echo),
        (MultiStream(SIZE), echo),
        (Offline(), nan),
        (Offline(), fail),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_four_times_the_requests_take_the_memory_of_one(
    scenario: Scenario,
    answer: Answer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With every limit lowered, a run four times as long takes hardly more memory.

    One number kept for each of the further million and a half requests would be 12 MB; the bins
    of an overload, whose latencies grow with the run, are 3.
    """
    monkeypatch.setattr("pytest_dlperf.load.request_log._REQUESTS", 1 << 14)
    monkeypatch.setattr("pytest_dlperf.measure.prepared.EXACT", 1 << 15)
    monkeypatch.setattr("pytest_dlperf.measure.answers._KEPT_BYTES", 1 << 18)
    monkeypatch.setattr("pytest_dlperf.load.request_queue.CHUNK", 1 << 14)

    once, peak_of_once = run(scenario, answer, 500)
    often, peak_of_often = run(scenario, answer, 2000)

    assert often.totals.total > 3.9 * once.totals.total > 1_500_000
    assert peak_of_often < peak_of_once + 4_000_000
