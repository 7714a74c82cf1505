"""A limit on a percentile, as a user writes it."""

from __future__ import annotations

import pytest

from pytest_dlperf.config.budgets import LatencyLimit, parse_limit
from pytest_dlperf.errors import UsageError


@pytest.mark.parametrize(
    ("text", "percent", "seconds", "said"),
    [
        ("p99 <= 10ms", 99, 0.01, "p99 <= 10ms"),
        ("p99<0.01s", 99, 0.01, "p99 <= 10ms"),
        ("p99.9 <= 10.125ms", 99.9, 0.010125, "p99.9 <= 10.125ms"),
        ("p50 <= 1min", 50, 60, "p50 <= 60000ms"),
    ],
)
def test_limits(text: str, percent: float, seconds: float, said: str) -> None:
    """However it is written, equal limits have equal texts, and other ones have others."""
    limit = parse_limit(text)

    assert (limit.percent, limit.seconds) == (percent, pytest.approx(seconds))
    assert str(limit) == said
    assert limit.share == pytest.approx(percent / 100)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("throughput >= 5/s", "throughput is no percentile"),
        ("mean <= 5ms", "mean is no percentile"),
        ("p99 <= 2 * baseline", "expected a latency, not a baseline"),
        ("p99 <= 0ms", "can never be held"),
        ("10ms", "a budget starts with a metric"),
        (0.01, "expected a text"),
    ],
)
def test_what_is_no_limit(text: object, problem: str) -> None:
    """What cannot be held is refused in words."""
    with pytest.raises(UsageError, match=problem):
        parse_limit(text)


def test_a_limit_is_checked_when_it_is_built() -> None:
    """No module can pass on a limit that makes no sense."""
    with pytest.raises(UsageError, match="can never be held"):
        LatencyLimit(100, 0.01)
