"""Warm-up: run the same load until its speed shows no trend, before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.trend import relative_trend

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WINDOWS: Final = 8
SETTLED: Final = 3
_LARGE: Final = 0.1


def warm_up(window: Callable[[], NDArray[np.float64]]) -> str:
    """Run windows until three in a row show no trend of 10 % or more, eight at the most.

    Args:
        window: runs one, and returns the seconds in the target that a request took in each
            stretch of it, shape `(stretches,)`.

    Returns:
        A note if it did not settle, else an empty text.
    """
    change = 0.0
    costs: list[NDArray[np.float64]] = []
    for _ in range(WINDOWS):
        costs.append(window())
        change = relative_trend(np.concatenate(costs[-SETTLED:]))
        if len(costs) >= SETTLED and abs(change) < _LARGE:
            return ""
    return f"not steady after the warm-up: the time a request takes still changed by {change:+.0%}"
