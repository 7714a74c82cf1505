"""Arrival times of open loops, made before the run from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.scenarios import Burst, Constant, OpenLoop, Ramp, Server, Trace
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST: Final = 200_000_000


def arrivals(scenario: OpenLoop, duration: float, seed: int) -> NDArray[np.int64]:
    """Due times of an open loop.

    Args:
        scenario: what comes; a `Trace` with its times, not with a file.
        duration: seconds; every time lies before it.
        seed: the same seed gives the same times on every machine.

    Returns:
        Nanoseconds from the start, not decreasing, shape `(n,)`; there may be none.

    Raises:
        UsageError: for more requests than memory should be spent on.
    """
    expected = _expected(scenario, duration)
    if expected > _MOST:
        raise UsageError(
            f"{scenario} for {duration:g} s is more than {_MOST:,} requests",
            "lower the rate or the duration",
        )
    generator = np.random.default_rng(seed)
    match scenario:
        case Server(rate):
            times = _gamma_process(generator, rate, 1.0, duration)
        case Burst(rate, burstiness):
            times = _gamma_process(generator, rate, burstiness, duration)
        case Constant(rate):
            times = np.arange(int(rate * duration) + 1) / rate
        case Ramp(start, stop):
            times = _ramp(generator, start, (stop - start) / duration, expected)
        case Trace(recorded):
            times = np.array(recorded, np.float64)
    return (times[times < duration] * 1e9).astype(np.int64)


def _expected(scenario: OpenLoop, duration: float) -> float:
    """How many requests an open loop brings in so many seconds, on average."""
    match scenario:
        case Ramp(start, stop):
            return (start + stop) / 2 * duration
        case Trace(recorded):
            return float(len(recorded))
        case _:
            return scenario.rate * duration


def _gamma_process(
    generator: np.random.Generator, rate: float, shape: float, duration: float
) -> NDArray[np.float64]:
    """Gaps are independent, gamma distributed with mean 1 / rate; shape 1 is a Poisson process."""
    times = np.zeros(0)
    while not len(times) or times[-1] < duration:
        missing = rate * (duration - (times[-1] if len(times) else 0.0))
        # Six standard deviations above the mean are nearly always enough.
        draws = int(missing + 6 * (missing / shape) ** 0.5) + 16
        gaps = generator.gamma(shape, 1 / (rate * shape), draws)
        times = np.append(times, np.cumsum(gaps) + (times[-1] if len(times) else 0.0))
    return times


def _ramp(
    generator: np.random.Generator, start: float, slope: float, expected: float
) -> NDArray[np.float64]:
    """A Poisson process of rate 1 on the scale of the expected number of arrivals.

    `L(t) = start t + slope t^2 / 2` arrivals are expected until t; its
    inverse brings a unit-rate process back to the scale of time (Cinlar 1975, time change).
    """
    unit = _gamma_process(generator, 1.0, 1.0, expected)
    unit = unit[unit < expected]
    # The root of slope t^2 / 2 + start t - L = 0 in the form that is stable for slope near 0.
    return 2 * unit / (start + np.sqrt(start * start + 2 * slope * unit))
