"""Steadiness: drift is told from noise, and overload from keeping up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_samples, tally_of

from pytest_dlperf.load.quality import drift, growth, shortfall

if TYPE_CHECKING:
    from pytest_dlperf.load.totals import LoadTotals

SECOND = 1_000_000_000


def closed_loop(milliseconds: np.ndarray) -> LoadTotals:
    """One request a call, back to back, each taking so long."""
    done = np.cumsum(milliseconds * 1e6).astype(np.int64)
    begun = np.concatenate([[0], done[:-1]])
    return tally_of(
        make_samples(
            [1] * len(done), done.tolist(), dispatched_ns=begun.tolist(), intended_ns=begun.tolist()
        )
    )


@pytest.mark.parametrize(("last", "change"), [(1.5, "-3"), (0.7, "+3")])
def test_a_drift_is_said(last: float, change: str) -> None:
    """A target that gets slower or faster during the run was not in a steady state."""
    noise = np.random.default_rng(0).normal(1, 0.02, 2000)

    text = drift(closed_loop(np.linspace(1, last, 2000) * noise))

    assert text.startswith(f"the rate drifted by {change}")


def test_a_small_drift_is_left_alone() -> None:
    """3 % over the run is a trend, but none to speak of."""
    assert drift(closed_loop(np.linspace(1, 1.03, 2000))) == ""


def test_noise_is_no_drift() -> None:
    """In at most 1 % of steady runs a drift is seen: of 400, ten are the binomial bound."""
    random = np.random.default_rng(1)

    seen = sum(drift(closed_loop(random.lognormal(0, 1.5, 400))) != "" for _ in range(400))

    assert seen <= 10


def test_two_intervals_are_no_trend() -> None:
    """Too short a run says nothing."""
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
    return tally_of(samples, seconds=1.0)


def test_keeping_up_is_not_mentioned() -> None:
    """Answers that come as fast as the requests need no note."""
    assert shortfall(open_loop(0.9)) == ""


def test_overload_is_said_with_both_rates() -> None:
    """2 ms a request: half of them are answered while requests come."""
    assert shortfall(open_loop(2.0)) == "overloaded: 1,000/s came, 500/s were answered in time"


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
