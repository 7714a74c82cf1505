"""Arrival times of open loops, made before the run from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def poisson(rate: float, duration: float, seed: int) -> NDArray[np.int64]:
    """Due times of a Poisson process: gaps are independent and exponential with mean 1 / rate.

    Args:
        rate: arrivals a second.
        duration: seconds; every time lies before it.
        seed: the same seed gives the same times on every machine.

    Returns:
        Increasing nanoseconds from the start, shape `(n,)`; at least one.
    """
    generator = np.random.default_rng(seed)
    expected = rate * duration
    # Six standard deviations above the mean: more than enough draws, at no cost.
    gaps = generator.exponential(1e9 / rate, int(expected + 6 * expected**0.5) + 16)
    times = np.cumsum(gaps).astype(np.int64)
    return times[: max(1, int(np.searchsorted(times, int(duration * 1e9))))]
