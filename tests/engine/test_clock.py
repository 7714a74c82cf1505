"""The clock that can be stopped."""

from __future__ import annotations

from fakes import FakeClock

from pytest_dlperf.engine.clock import StoppableClock


def test_it_stands_still_and_goes_on() -> None:
    """While it is stopped it shows one time, and goes on from there."""
    outside = FakeClock(now=100)
    clock = StoppableClock(outside)

    with clock.stopped():
        outside.now += 50
        assert clock.now_ns() == 100
    outside.now += 7

    assert clock.now_ns() == 107


def test_stopping_a_stopped_clock() -> None:
    """It goes on when the first who stopped it lets it, and nothing is lost twice."""
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
