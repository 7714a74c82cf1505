"""Whether a target gains from several processors."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_dlperf.duel.processors import GainFromMore
from pytest_dlperf.measure.slots import Block, Slot
from pytest_dlperf.metrics import METRICS


def block(base: float, candidate: float) -> Block:
    """A block in which requests cost so much."""
    sides = (Slot(100, 100, 0, cost, np.full(100, cost / 100)) for cost in (base, candidate))
    return Block(*sides, 0, 1.0)


@pytest.mark.parametrize("metric", ["throughput", "mean"])
@pytest.mark.parametrize(
    ("one", "every", "gains"),
    [
        ((1.0, 1.0), (1.0, 1.0), False),
        ((1.0, 1.0), (1.05, 0.95), False),
        ((1.0, 1.0), (0.6, 0.6), True),
        ((1.0, 1.3), (1.0, 1.0), True),
        ((1.3, 1.0), (1.0, 1.0), True),
        ((1.0, 1.0), (1.4, 1.2), False),
    ],
)
def test_one_side_that_gains_is_enough(
    metric: str, one: tuple[float, float], every: tuple[float, float], *, gains: bool
) -> None:
    """Whichever it is; a side that loses its parallel work would not be seen on one processor."""
    gain = GainFromMore(METRICS[metric])
    for _ in range(GainFromMore.ROUNDS):
        gain.add(block(*one), block(*every))

    assert gain.worthwhile is gains


def test_one_round_may_be_disturbed() -> None:
    """The median of the rounds counts."""
    gain = GainFromMore(METRICS["throughput"])
    for disturbed in (1.0, 1.0, 1.0, 9.0):
        gain.add(block(disturbed, 1.0), block(1.0, 1.0))

    assert not gain.worthwhile
