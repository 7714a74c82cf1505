"""Steadiness: whether a run went on as it began, and kept up with what came."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.units import format_quantity

if TYPE_CHECKING:
    from pytest_dlperf.core.samples import Samples

_SIGNIFICANT: Final = 2.576  # two-sided 1 %
_LARGE: Final = 0.1
_KEPT_UP: Final = 0.99
_NS: Final = 1e-9


def drift(samples: Samples, blocks: int) -> str:
    """Whether the rate of answers rose or fell over the run, in words; empty if it did not.

    Mann and Kendall's test for a trend (Mann 1945) at 1 %, and Sen's slope (Sen 1968) of at
    least 10 % from the first stretch to the last.

    Args:
        samples: of a closed loop; an open one answers as fast as is asked.
        blocks: stretches that the run is cut into.
    """
    block = samples.blocks(blocks)
    rates = np.bincount(block, samples.size) / np.maximum(samples.block_seconds(block), _NS)
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


def shortfall(samples: Samples, duration: float) -> str:
    """Whether an open loop's answers fell behind what came, in words; empty if they kept up.

    Args:
        samples: of an open loop.
        duration: seconds for which requests came.
    """
    end_ns = samples.started_ns + int(duration * 1e9)
    in_time = int(samples.size[samples.done_ns <= end_ns].sum())
    # Those that came just before the end may be answered just after it.
    slack = int(samples.size.max(initial=0))
    if in_time + slack >= _KEPT_UP * samples.total:
        return ""
    came = format_quantity(samples.total / duration, "1/s")
    answered = format_quantity(in_time / duration, "1/s")
    return f"overloaded: {came} came, {answered} were answered in time"
