"""Drift, overload, leaks, lateness and the diagnosis of a load, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_samples, totals_of
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.load.quality import clients_ran_out, diagnose, drift, growth, lateness, shortfall
from pytest_dlperf.load.summary import summarise_load

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.load.totals import LoadTotals

SECOND = 1_000_000_000
MS = 1_000_000


def closed_loop(milliseconds: np.ndarray) -> LoadTotals:
    """One request a call, back to back, with these service times."""
    done = np.cumsum(milliseconds * 1e6).astype(np.int64)
    begun = np.concatenate([[0], done[:-1]])
    return totals_of(
        make_samples(
            [1] * len(done), done.tolist(), dispatched_ns=begun.tolist(), intended_ns=begun.tolist()
        )
    )


@pytest.mark.parametrize(("last", "change"), [(1.5, "-3"), (0.7, "+3")])
def test_drift(last: float, change: str) -> None:
    """A target that gets slower or faster during the run was not in a steady state."""
    noise = np.random.default_rng(0).normal(1, 0.02, 2000)

    text = drift(closed_loop(np.linspace(1, last, 2000) * noise))

    assert text.startswith(f"the rate drifted by {change}")


def test_a_rate_that_collapses() -> None:
    """It cannot fall by more than all of it, though the straight line does."""
    times = np.concatenate([np.full(1000, 1.0), np.geomspace(1, 1000, 100)])

    assert drift(closed_loop(times)).startswith("the rate drifted by -100%")


def test_a_small_drift_is_left_alone() -> None:
    """A trend of 3 % is not reported."""
    assert drift(closed_loop(np.linspace(1, 1.03, 2000))) == ""


def test_noise_is_no_drift() -> None:
    """In at most 1 % of steady runs a drift is seen: of 400, ten are the binomial bound."""
    random = np.random.default_rng(1)

    seen = sum(drift(closed_loop(random.lognormal(0, 1.5, 400))) != "" for _ in range(400))

    assert seen <= 10


def test_two_intervals_are_no_trend() -> None:
    """A run that is too short has no drift."""
    assert drift(closed_loop(np.array([1.0, 9.0]))) == ""


def open_loop(service_ms: float) -> LoadTotals:
    """1,000 requests a second for a second, answered one at a time."""
    due = np.arange(1000) * 1_000_000
    work = np.arange(1, 1001) * int(service_ms * 1e6)
    done = np.maximum(due + int(service_ms * 1e6), work)
    samples = make_samples(
        [1] * 1000,
        done.tolist(),
        dispatched_ns=(done - int(service_ms * 1e6)).tolist(),
        intended_ns=due.tolist(),
    )
    return totals_of(samples, seconds=1.0, open_loop=True)


def in_flight(latency_s: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> LoadTotals:
    """50 requests a second for 5 s, each sent at once; latency by the time at which it came."""
    due = np.arange(250) / 50
    due_ns = (due * 1e9).astype(np.int64)
    done_ns = due_ns + (latency_s(due) * 1e9).astype(np.int64)
    samples = make_samples(
        [1] * 250, done_ns.tolist(), dispatched_ns=due_ns.tolist(), intended_ns=due_ns.tolist()
    )
    return totals_of(samples, seconds=5.0, open_loop=True)


def test_requests_in_flight_are_no_backlog() -> None:
    """Half a second each: 25 of 250 are in flight at the end, as at any time; all count."""
    totals = in_flight(lambda due: np.full_like(due, 0.5))

    assert shortfall(totals) == ""
    assert summarise_load(totals, latencies=True).metrics["throughput"].value == pytest.approx(50)


def test_ever_more_requests_in_flight_are_a_backlog() -> None:
    """A server that answers 25 requests a second takes all, and answers ever later."""
    totals = in_flight(lambda due: 0.04 + due)

    assert shortfall(totals) == "overloaded: 50/s came, 25/s were answered in time"
    throughput = summarise_load(totals, latencies=True).metrics["throughput"].value
    assert throughput == pytest.approx(25, rel=0.01)


def test_keeping_up_is_not_mentioned() -> None:
    """Answers that come as fast as the requests need no note."""
    assert shortfall(open_loop(0.9)) == ""


def test_overload_names_both_rates() -> None:
    """2 ms a request: half of them are answered while requests come."""
    assert shortfall(open_loop(2.0)) == "overloaded: 1,000/s came, 500/s were answered in time"


@pytest.mark.parametrize(
    ("late_ms", "busy_ms", "reason"),
    [
        (0, 40, ""),
        (1, 40, ""),
        (5, 39, "4 clients are too few; Serving(replicas=...) gives more"),
        (5, 10, "the clients' own code, or the machine, was busy with something else"),
    ],
)
def test_what_clients_send_late_is_not_the_targets_time(
    late_ms: int, busy_ms: int, reason: str
) -> None:
    """100 requests, one each 10 ms, of four clients; each is answered after `busy_ms`."""
    due = np.arange(100) * 10 * MS
    sent = due + late_ms * MS
    totals = totals_of(
        make_samples(
            [1] * 100,
            (sent + busy_ms * MS).tolist(),
            dispatched_ns=sent.tolist(),
            intended_ns=due.tolist(),
            replica=[number % 4 for number in range(100)],
        ),
        seconds=1.0,
        open_loop=True,
    )

    late = "100 of 100 requests were sent more than 1 ms late: "
    assert clients_ran_out(totals, 4) == (late + reason if reason else "")
    assert len(totals.replicas) == 4


def test_steady_growth_is_a_leak() -> None:
    """8 MiB at each of 40 readings: 29 steps in the last three quarters."""
    resident = [(100 + 8 * tick) << 20 for tick in range(40)]

    assert growth(resident, 1000) == (
        "memory grew steadily by 232 MiB (238 KiB a request): the target may leak"
    )


@pytest.mark.parametrize(
    "resident",
    [
        [min(tick, 8) << 30 for tick in range(40)],
        [(100 + tick) << 20 for tick in range(40)],
        [(100 + 500 * (tick % 2)) << 20 for tick in range(40)],
        [1 << 30],
    ],
    ids=["taken once", "little", "up and down", "one reading"],
)
def test_other_memory_is_no_leak(resident: list[int]) -> None:
    """Buffers allocated at first, a few MiB, and what is given back are no leak."""
    assert growth(resident, 1000) == ""


def test_text_by_hand() -> None:
    """The text has median queue and service times, mean batch and busy cores, with units."""
    samples = make_samples(
        [3, 1],
        [10 * MS, 20 * MS],
        dispatched_ns=[4 * MS, 12 * MS],
        intended_ns=[0, 1 * MS, 2 * MS, 11 * MS],
    )
    # Queues: 4, 3, 2 and 1 ms; service: 6 and 8 ms.
    assert diagnose(totals_of(samples), 1.5) == (
        "median 2.5 ms in the queue and 7 ms in the target, 2.0 requests a call, "
        "replica 70 % busy, 1.50 cores busy"
    )


@pytest.mark.parametrize(
    ("service_ms", "busy_cores", "waits"),
    [
        (9, 0.1, True),  # in the target nine tenths of the time, and nothing computes
        (9, 0.9, False),
        (9, 0.3, False),
        (1, 0.0, False),  # hardly in the target at all: it is the load that waits
    ],
)
def test_waiting_targets(service_ms: int, busy_cores: float, *, waits: bool) -> None:
    """A target that is busy while no processor is has a note that it waits."""
    starts = [10 * MS * i for i in range(10)]
    samples = make_samples(
        [1] * 10, [start + service_ms * MS for start in starts], dispatched_ns=starts
    )
    assert ("rather than computes" in diagnose(totals_of(samples), busy_cores)) is waits


def test_an_instant() -> None:
    """A run that took no time is described, not divided by."""
    assert diagnose(totals_of(make_samples([1], [0])), 0.0).startswith("median 0 ns")


@pytest.mark.parametrize(
    ("calls", "late_ns", "late"),
    [
        (100, [], False),
        (100, [0] * 100, False),
        (100, [MS] * 100, False),  # at the bound is in time
        (100, [MS + 1] + [0] * 99, False),  # one in a hundred is allowed
        (100, [MS + 1] * 2, True),
        (99, [MS + 1], True),
        (1000, [5 * MS] * 10, False),
        (1000, [5 * MS] * 11, True),
    ],
)
def test_bound(calls: int, late_ns: list[int], *, late: bool) -> None:
    """More than one call in a hundred woken more than 1 ms late spoils the run."""
    samples = make_samples([1] * calls, list(range(1, calls + 1)), late_ns=late_ns)
    assert bool(lateness(totals_of(samples))) is late


def test_text() -> None:
    """The reason names how many calls were late and the worst of them."""
    samples = make_samples([1] * 50, list(range(1, 51)), late_ns=[2 * MS, 30 * MS, 0])
    text = lateness(totals_of(samples))
    assert "for 2 of 50 calls" in text
    assert "worst 30 ms" in text


@given(st.lists(st.integers(0, 10 * MS), max_size=30), st.integers(1, 200))
def test_a_busy_target_is_not_late(late_ns: list[int], calls: int) -> None:
    """Only waking counts: however long requests queue, the run is as valid as its wake-ups are."""
    quick = make_samples([1] * calls, [1] * calls, late_ns=late_ns)
    slow = make_samples([1] * calls, [10**12] * calls, late_ns=late_ns)
    assert lateness(totals_of(quick)) == lateness(totals_of(slow))
    assert bool(lateness(totals_of(quick))) is (sum(ns > MS for ns in late_ns) > calls / 100)
