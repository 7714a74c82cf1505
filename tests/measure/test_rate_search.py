"""The search for the highest rate: what it proves, when it stops, and how often it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import totals_of
from hypothesis import given
from hypothesis import strategies as st
from queues import random_service_limit, single_server

from pytest_dlperf.measure.rate_search import (
    FASTEST,
    LONGEST,
    Probe,
    ProbeOutcome,
    RateInterval,
    SearchSettings,
    search,
    slowest_rate,
    within_limit,
)
from pytest_dlperf.statistics.slo_attainment import Attainment

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = 19
PER_BLOCK = 10_000.0


def window(share: Callable[[float], float]) -> Callable[[float, int], Attainment]:
    """Loads whose share within the limit is exactly known at each rate."""

    def run(rate: float, number: int) -> Attainment:
        del number
        total = np.full(BLOCKS, PER_BLOCK)
        return Attainment(total, total * share(rate), total * 0.9)

    return run


def below(limit: float) -> Callable[[float], float]:
    """All in time up to a rate, none above it."""
    return lambda rate: 1.0 if rate <= limit else 0.0


def settings(**changed: float) -> SearchSettings:
    """Terms that leave room."""
    usual = {"share": 0.99, "start": 100.0, "slowest": 1.0, "fastest": 1e6, "windows": 50}
    return SearchSettings(**{**usual, **changed})  # type: ignore[arg-type]  # windows is a whole number


@given(st.floats(1.1, 4e5))
def test_the_interval_holds_the_limit(limit: float) -> None:
    """Wherever the limit is, the interval holds it and is 5 % wide."""
    interval = search(window(below(limit)), settings())

    assert interval.held is not None
    assert interval.failed is not None
    assert interval.held <= limit < interval.failed
    assert interval.failed <= 1.05 * interval.held
    assert interval.reason == "converged"


def test_the_steps() -> None:
    """Doubling until one fails, halving between in proportion until the width is 5 %."""
    interval = search(window(below(300)), settings(start=100.0))

    rates = [round(probe.rate) for probe in interval.probes]
    assert rates == [100, 200, 400, 283, 336, 308, 295]
    assert {probe.windows for probe in interval.probes} == {1}
    assert str(interval) == "295/s held, 308/s failed, 7 rates tried: converged"


def test_a_first_rate_that_fails_is_halved() -> None:
    """Below the first rate the search goes down."""
    interval = search(window(below(30)), settings(start=100.0))

    assert [probe.rate for probe in interval.probes][:3] == [100, 50, 25]
    assert interval.held is not None
    assert interval.held <= 30 < interval.held * 1.1


def test_no_limit_found() -> None:
    """A target that always holds: the highest rate that was tried, and no end above it."""
    interval = search(window(lambda _: 1.0), settings(fastest=1500.0))

    assert interval.reason == "no limit found up to 1,500/s"
    assert interval.estimate is not None
    assert (interval.estimate.low, interval.estimate.high) == (1500, FASTEST)


def test_no_rate_holds() -> None:
    """A target that never holds: nothing held, down to the slowest rate that can be judged."""
    interval = search(window(lambda _: 0.5), settings(slowest=20.0))

    assert [probe.rate for probe in interval.probes] == [100, 50, 25, 20]
    assert interval.reason.startswith("fails even at 20/s; a lower rate brings too few requests")
    assert interval.estimate is not None
    assert (interval.estimate.value, interval.estimate.high) == (0, 20)


def test_undecided_everywhere() -> None:
    """Shares at the limit leave every probe undecided, and then there is no estimate."""
    interval = search(window(lambda _: 0.99), settings(slowest=60.0))

    assert interval.estimate is None
    assert interval.reason.startswith("undecided at 60/s; a lower rate brings too few requests")
    assert interval.probes == (
        Probe(100, ProbeOutcome.OPEN, LONGEST),
        Probe(60, ProbeOutcome.OPEN, LONGEST),
    )


def test_an_open_probe_moves_no_bound() -> None:
    """Between 290/s and 310/s probes are undecided: the bounds are proven just outside."""

    def share(rate: float) -> float:
        return 0.99 if 290 <= rate <= 310 else below(300)(rate)

    interval = search(window(share), settings())

    assert interval.held is not None
    assert interval.failed is not None
    assert 290 / 1.05 < interval.held < 290
    assert 310 < interval.failed < 310 * 1.05
    assert interval.reason.startswith("undecided between")
    assert {p.windows for p in interval.probes if p.outcome is ProbeOutcome.OPEN} == {LONGEST}


def test_the_search_is_bounded() -> None:
    """It stops when its windows are used up, with what is proven by then."""
    interval = search(window(below(300)), settings(windows=4))

    assert sum(probe.windows for probe in interval.probes) == 4
    assert (interval.held, interval.failed) == (pytest.approx(282.8, abs=0.1), 400)
    assert interval.reason == "stopped after 4 windows"


def test_a_probe_lasts_until_it_is_decided() -> None:
    """Misses just under the line take more windows than none at all."""
    numbers: list[int] = []

    def run(rate: float, number: int) -> Attainment:
        numbers.append(number)
        total = np.full(BLOCKS, 100.0)
        return Attainment(total, total * (0.996 if rate < 150 else 0), total * 0.9)

    interval = search(run, settings(windows=6))

    assert interval.probes[0].outcome is ProbeOutcome.HELD
    assert interval.probes[0].windows > 1
    assert numbers[: interval.probes[0].windows] == list(range(interval.probes[0].windows))


def test_the_slowest_rate_can_be_judged() -> None:
    """At the slowest rate, and not at half of it, a probe without a miss is decided."""
    rate = slowest_rate(0.99, seconds=5.0)

    def decided(rate: float) -> bool:
        # A little more than the least, since the variance is estimated, too.
        total = np.full(BLOCKS, 1.1 * rate * 5.0 / BLOCKS)
        interval = search(lambda _, __: Attainment(total, total, total), settings(windows=4))
        return interval.probes[0].outcome is ProbeOutcome.HELD

    assert decided(rate)
    assert not decided(rate / 2)


@pytest.mark.simulation
@pytest.mark.parametrize("utilisation", [0.5, 0.8])
def test_how_often_the_answer_is_right(utilisation: float) -> None:
    """M/M/1, p99, 10,000 requests a window: 38 of 40 intervals hold the true rate."""
    # The true rate follows from `P[T > t] = exp(-(mu - lambda) t)`.
    random = np.random.default_rng(11)
    service_rate = 1000.0
    true_rate = utilisation * service_rate
    limit = random_service_limit(true_rate, service_rate, 0.99)
    seconds = 10_000 / true_rate

    def run(rate: float, number: int) -> Attainment:
        del number
        return within_limit(
            totals_of(single_server(rate, service_rate, seconds, random), slo=limit)
        )

    right, widths = 0, []
    for _ in range(40):
        start = service_rate / 2 * random.uniform(0.9, 1.1)
        given_settings = settings(start=start, slowest=slowest_rate(0.99, seconds), windows=20)
        estimate = search(run, given_settings).estimate
        assert estimate is not None
        right += estimate.low <= true_rate <= estimate.high
        widths.append(estimate.high / estimate.low - 1)

    assert right >= 38
    assert np.median(widths) <= 0.34


def test_settings_are_checked() -> None:
    """Settings with which a search could not begin or never end are refused."""
    with pytest.raises(ValueError, match="between the slowest and the fastest"):
        settings(start=0.5)
    with pytest.raises(ValueError, match="nothing can be found out"):
        settings(windows=0)


def test_the_best_of_what_is_proven() -> None:
    """The bounds are the highest rate that held and the lowest that failed."""
    probes = (
        Probe(100, ProbeOutcome.HELD, 1),
        Probe(800, ProbeOutcome.FAILED, 1),
        Probe(400, ProbeOutcome.OPEN, 4),
        Probe(200, ProbeOutcome.HELD, 2),
        Probe(600, ProbeOutcome.FAILED, 2),
    )

    interval = RateInterval(probes, "converged")

    assert interval.estimate is not None
    assert (interval.estimate.value, interval.estimate.low, interval.estimate.high) == (
        200,
        200,
        600,
    )
