"""The early-stopping estimate that comparisons with LoadGen use is LoadGen's own."""

from __future__ import annotations

import pytest
from early_stopping import early_stopping_bound


@pytest.mark.parametrize(
    ("requests", "at_p90", "at_p95", "at_p99"),
    [
        (662, 48, 20, 1),
        (1_000, 78, 34, 2),
        (2_000, 168, 77, 9),
        (5_000, 450, 214, 33),
        (10_000, 930, 449, 77),
    ],
)
def test_bounds_by_mlperf(requests: int, at_p90: int, at_p95: int, at_p99: int) -> None:
    """The order statistics are those of MLPerf LoadGen's early stopping."""
    bounds = [early_stopping_bound(requests, percent) for percent in (90, 95, 99)]
    assert bounds == [at_p90, at_p95, at_p99]
