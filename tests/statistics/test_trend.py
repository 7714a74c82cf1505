"""Trends."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_dlperf.statistics.trend import relative_trend, trend


def test_a_straight_line_rises_by_all_its_steps() -> None:
    """From 3 to 41 in 19 steps."""
    assert trend(np.linspace(3.0, 41.0, 20)) == pytest.approx(38.0)
    assert trend(np.linspace(41.0, 3.0, 20)) == pytest.approx(-38.0)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [5.0] * 30])
def test_no_trend(values: list[float]) -> None:
    """Two values make no trend, nor do equal ones."""
    assert trend(np.array(values)) == 0.0


def test_noise_is_rarely_taken_for_a_trend() -> None:
    """Of 2,000 rows of 20 random values, about 1 % pass the test (counted: 0.9 % in the seed)."""
    random = np.random.default_rng(0)
    trends = sum(trend(random.random(20)) != 0 for _ in range(2000))

    assert 10 <= trends <= 30


def test_a_share_of_the_median() -> None:
    """From 3 to 41 is 38, and the median is 22; where nothing takes any time, nothing changes."""
    assert relative_trend(np.linspace(3.0, 41.0, 20)) == pytest.approx(38 / 22)
    assert relative_trend(np.zeros(20)) == 0.0
    assert relative_trend(np.array([])) == 0.0
