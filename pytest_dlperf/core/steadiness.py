"""Steadiness: whether a run went on as it began, and kept up with what came."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.units import format_quantity

if TYPE_CHECKING:
    from pytest_dlperf.core.tally import Tally

_SIGNIFICANT: Final = 2.576  # two-sided 1 %
_LARGE: Final = 0.1
_KEPT_UP: Final = 0.99
_NS: Final = 1e-9


def drift(tally: Tally) -> str:
    """Whether the rate of answers rose or fell over the run, in words; empty if it did not.

    Mann and Kendall's test for a trend (Mann 1945) at 1 %, and Sen's slope (Sen 1968) of at
    least 10 % from the first stretch to the last.

    Args:
        tally: of a closed loop; an open one answers as fast as is asked.
    """
    rates = tally.blocks.requests / np.maximum(tally.blocks.seconds(tally.started_ns), _NS)
    n = len(rates)
    later, earlier = np.tril_indices(n, -1)
    steps = rates[later] - rates[earlier]
    score = float(np.sign(steps).sum())
    spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    if n < 3 or abs(score) - 1 < _SIGNIFICANT * spread:  # noqa: PLR2004 - two make no trend
        return ""
    slope = float(np.median(steps / (later - earlier)))
    middle = float(np.median(rates))
    change = slope * (n - 1) / middle
    if abs(change) < _LARGE:
        return ""
    return f"the rate drifted by {change:+.0%} during the run: it was not in a steady state"


def shortfall(tally: Tally) -> str:
    """Whether an open loop's answers fell behind what came, in words; empty if they kept up.

    Args:
        tally: of an open loop.
    """
    # Those that came just before the end may be answered just after it.
    slack = max(tally.batch_sizes, default=0)
    if tally.in_time + slack >= _KEPT_UP * tally.total:
        return ""
    came = format_quantity(tally.total / tally.seconds, "1/s")
    answered = format_quantity(tally.in_time / tally.seconds, "1/s")
    return f"overloaded: {came} came, {answered} were answered in time"
