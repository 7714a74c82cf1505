"""Clocks: the one that sleeps and spins, and the one that can be stopped."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeClock

from pytest_dlperf.clock import MonotonicClock, SpinMargin, StoppableClock

CAP_NS = 50_000


def after(late_ns: list[int]) -> list[int]:
    """The margin after each of these sleeps."""
    margin = SpinMargin()
    margins = []
    for late in late_ns:
        margin.learn(late)
        margins.append(margin.ns)
    return margins


@pytest.mark.parametrize("late_ns", [0, 8_000, 24_000, 45_000])
def test_margin_settles_at_what_sleeps_are_late_by(late_ns: int) -> None:
    """Where every sleep is equally late, the margin is that, to 3 microseconds."""
    settled = after([late_ns] * 1_000)[500:]

    assert min(settled) >= late_ns - 1_000
    assert max(settled) <= late_ns + 3_000


def test_one_sleep_in_ten_is_later_than_the_margin() -> None:
    """Where lateness is random (10 microseconds on average), 9 of 10 sleeps end in time."""
    late = np.random.default_rng(0).exponential(10_000, 20_000).astype(int).tolist()

    margins = [CAP_NS, *after(late)[:-1]]
    too_late = np.array(late[1_000:]) > np.array(margins[1_000:])

    assert too_late.mean() == pytest.approx(0.1, abs=0.01)


def test_margin_is_bounded_and_recovers() -> None:
    """On a busy machine it is 50 microseconds and no more; afterwards it is small again."""
    margins = after([1_000_000] * 1_000 + [5_000] * 1_000)

    assert max(margins) == CAP_NS
    assert margins[-1] <= 8_000


def test_no_sleep_ends_early() -> None:
    """The clock shows the time that was waited for, or a later one, whatever it has learnt."""
    clock = MonotonicClock()
    for wait_ns in [0, 1_000, 60_000, 200_000] * 25:
        when = clock.now_ns() + wait_ns
        clock.sleep_until_ns(when)
        assert clock.now_ns() >= when


def test_it_stands_still_and_goes_on() -> None:
    """A stopped clock shows one time and goes on from there; sleeps last past the stop."""
    outside = FakeClock(now=100)
    clock = StoppableClock(outside)

    with clock.stopped():
        outside.now += 50
        assert clock.now_ns() == 100
    outside.now += 7
    assert clock.now_ns() == 107

    clock.sleep_until_ns(130)
    assert (clock.now_ns(), outside.now) == (130, 180)


def test_stopping_a_stopped_clock() -> None:
    """A nested stop has no effect of its own."""
    outside = FakeClock(now=100)
    clock = StoppableClock(outside)

    with clock.stopped():
        outside.now += 10
        with clock.stopped():
            outside.now += 10
        outside.now += 10
        assert clock.now_ns() == 100
    outside.now += 1

    assert clock.now_ns() == 101
