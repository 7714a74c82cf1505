"""Arrival times of open loops, drawn from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.scenarios import Burst, Constant, OpenLoop, Ramp, Server, Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from pytest_dlperf.load.scenarios import Scenario

_MOST: Final = 200_000_000  # more is a mistyped rate
CHUNK: Final = 1 << 20
"""The most arrivals that are drawn at a time."""


def arrivals(scenario: OpenLoop, duration: float, seed: int) -> NDArray[np.int64]:
    """All due times of an open loop at once; see `arrival_chunks`."""
    return np.concatenate([np.zeros(0, np.int64), *arrival_chunks(scenario, duration, seed)])


def arrival_chunks(
    scenario: OpenLoop, duration: float, seed: int, size: int = CHUNK
) -> Iterator[NDArray[np.int64]]:
    """Due times of an open loop before `duration` seconds, drawn on demand.

    A `Trace` must hold its times, not a file. The same seed gives the same times on every machine
    and for every chunk `size`.

    Returns:
        Nanoseconds from the start, non-decreasing, in arrays of shape `(n,)`, 0 < n <= size;
        possibly no array.

    Raises:
        UsageError: for more than 200 million requests.
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
            times = _gamma_process(generator, rate, 1.0, duration, size)
        case Burst(rate, burstiness):
            times = _gamma_process(generator, rate, burstiness, duration, size)
        case Constant(rate):
            last = int(rate * duration) + 1
            times = (
                np.arange(first, min(first + size, last)) / rate for first in range(0, last, size)
            )
        case Ramp(start, stop):
            times = _ramp(generator, start, (stop - start) / duration, expected, size)
        case Trace(recorded):
            times = (
                np.array(recorded[first : first + size], np.float64)
                for first in range(0, len(recorded), size)
            )
    return ((chunk * 1e9).astype(np.int64) for chunk in _before(times, duration))


def _before(chunks: Iterable[NDArray[np.float64]], end: float) -> Iterator[NDArray[np.float64]]:
    """Chunks of the times before `end`."""
    for chunk in chunks:
        early = chunk[chunk < end]
        if len(early):
            yield early
        if len(early) < len(chunk):
            return


def seconds_of_arrivals(scenario: Scenario, duration: float) -> float:
    """The time in which requests come: `duration`, or less if a `Trace` is over before.

    It must hold its times, and is over one mean gap after the last of them.
    """
    match scenario:
        case Trace((first, *_, last)) if last > first:
            gap = (last - first) / (len(scenario.times) - 1)
            return min(duration, last + gap)
        case _:
            return duration


def _expected(scenario: OpenLoop, duration: float) -> float:
    """Mean number of requests of an open loop in `duration` seconds."""
    match scenario:
        case Ramp(start, stop):
            return (start + stop) / 2 * duration
        case Trace(recorded):
            return float(len(recorded))
        case _:
            return scenario.rate * duration


def _gamma_process(
    generator: np.random.Generator, rate: float, shape: float, duration: float, size: int
) -> Iterator[NDArray[np.float64]]:
    """Independent gamma-distributed gaps with mean 1 / rate; shape 1 is a Poisson process."""
    last = 0.0
    while last < duration:
        missing = rate * (duration - last)
        # Six standard deviations above the mean are nearly always enough.
        draws = min(size, int(missing + 6 * (missing / shape) ** 0.5) + 16)
        times = generator.gamma(shape, 1 / (rate * shape), draws)
        # Summed up from the last time, so that the chunk size does not change the rounding.
        times[0] += last
        np.cumsum(times, out=times)
        last = float(times[-1])
        yield times


def _ramp(
    generator: np.random.Generator, start: float, slope: float, expected: float, size: int
) -> Iterator[NDArray[np.float64]]:
    """A Poisson process with a linear rate, as a unit-rate process on a changed time scale.

    `L(t) = start t + slope t^2 / 2` arrivals are expected until t; the inverse of L maps a
    unit-rate process to this one (Cinlar 1975, time change).
    """
    for unit in _before(_gamma_process(generator, 1.0, 1.0, expected, size), expected):
        # This form of the root of slope t^2 / 2 + start t - L = 0 is stable for a slope near 0.
        yield 2 * unit / (start + np.sqrt(start * start + 2 * slope * unit))
