"""Sufficiency: a load lasts as long as its budgets need, and not longer."""

from __future__ import annotations

import pytest
from builders import make_samples, tally_of

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.load.samples import Outcome
from pytest_dlperf.measure.prepared import sufficient_seconds

MS = 1_000_000


@pytest.mark.parametrize(
    ("budget", "calls", "seconds"),
    [
        ("p99 <= 1s", 100, 1.2 * 662 * 0.01),  # 662 requests, 10 ms each
        ("p50 <= 1s", 100, 0.0),
        ("throughput >= 1/s", 100, 0.0),
        ("throughput >= 1/s", 5, 1.2 * 20 * 0.01),  # twice ten intervals
        ("p99 <= 1s", 5, 1.2 * 662 * 0.01),
        ("accuracy >= 90%", 5, 0.0),
        ("errors == 0", 5, 0.0),
        ("peak_memory <= 1GiB", 5, 0.0),
    ],
)
def test_seconds_by_hand(budget: str, calls: int, seconds: float) -> None:
    """What a percentile or a rate needs, at the rate that was seen, with a fifth on top."""
    samples = make_samples([1] * calls, [10 * MS * (i + 1) for i in range(calls)])

    assert sufficient_seconds(tally_of(samples), [parse_budget(budget)]) == pytest.approx(seconds)


def test_more_of_nothing_is_not_asked_for() -> None:
    """A load without a good answer is not made longer."""
    samples = make_samples([1] * 5, [10 * MS] * 5, outcome=[Outcome.EXCEPTION] * 5)

    assert sufficient_seconds(tally_of(samples), [parse_budget("p99 <= 1s")]) == 0.0
