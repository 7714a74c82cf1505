"""A pytest plugin: time passes only while a target works, in whichever process loads it.

So what a duel's workers measure depends on their code alone, however busy the machine is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes import FakeMeter, SimulatedClock
from pytest import MonkeyPatch  # noqa: PT013 - the only name of it that is needed

from pytest_dlperf.measure.yardstick import NO_YARDSTICK

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Replace the clock, the meter and the yardstick until the end of the session."""
    clock, patch = SimulatedClock(), MonkeyPatch()
    patch.setattr("pytest_dlperf.clock.MonotonicClock", lambda: clock)
    patch.setattr("pytest_dlperf.measure.telemetry.ProcessMeter", FakeMeter)
    # It would compute for minutes until this clock has gone on by its slots.
    patch.setattr("pytest_dlperf.measure.yardstick.Yardstick", lambda _: NO_YARDSTICK)
    config.add_cleanup(patch.undo)
