"""Plain figures: estimates as the values of files, and back."""

from __future__ import annotations

import math

import pytest
from builders import estimate
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.codec import (
    ends_of,
    estimate_of,
    metrics_from_json,
    metrics_to_json,
    rounded,
)
from pytest_dlperf.statistics.estimate import Estimate, counted


def test_metrics_to_json_of_every_metric() -> None:
    """Every metric is written with the unit and the direction of the table."""
    value = metrics_to_json(dict.fromkeys(METRICS, estimate(1.0)))
    assert {n: (v["unit"], v["better"]) for n, v in value.items()} == {
        n: (m.unit, m.better) for n, m in METRICS.items()
    }
    assert metrics_from_json(value) == dict.fromkeys(METRICS, estimate(1.0))


@given(st.tuples(*[st.floats(0, 1e12).map(rounded)] * 3).map(sorted))
def test_round_trip(ends: list[float]) -> None:
    """What is read back is what was written."""
    written = Estimate(ends[1], ends[0], ends[2])

    assert estimate_of(ends_of(written)) == written


def test_counted_values() -> None:
    """A value without uncertainty is one number."""
    assert ends_of(counted(0.25)) == 0.25
    assert ends_of(Estimate(2.0, 1.0, 3.0)) == [2.0, 1.0, 3.0]


@pytest.mark.parametrize("value", [None, "1", [1], [1, 2], {"value": 1}, [2, 3, 4, 5]])
def test_invalid_estimates(value: object) -> None:
    """Anything else is refused, with what was expected."""
    with pytest.raises(ValueError, match="is no figure: expected one, or value, low and high"):
        estimate_of(value)


@pytest.mark.parametrize("value", [-1, True, math.nan, math.inf, [-1, -2, 3]])
def test_no_metric_is_below_zero(value: object) -> None:
    """Whatever is measured would keep a budget against a throughput of -1."""
    with pytest.raises(ValueError, match="expected a number"):
        estimate_of(value)


def test_an_unknown_metric() -> None:
    """An unknown metric is refused by name."""
    with pytest.raises(ValueError, match="there is no metric 'joules'"):
        metrics_from_json({"joules": {"value": 1.0, "low": 1.0, "high": 1.0}})
