"""Schedules: the rate of a step, by hand; `tests/training/keras/test_fit.py` asks Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.errors import UsageError
from pytest_dlperf.training.recipe import CosineDecay, ExponentialDecay, PiecewiseConstant

if TYPE_CHECKING:
    from pytest_dlperf.training.recipe import Schedule


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (ExponentialDecay(0.8, 0.5, 10), {0: 0.8, 10: 0.4, 20: 0.2, 30: 0.1}),
        (CosineDecay(0.4, 100), {0: 0.4, 50: 0.2, 100: 0.0, 500: 0.0}),
        (CosineDecay(0.4, 100, 10), {0: 0.0, 5: 0.2, 10: 0.4, 60: 0.2, 110: 0.0}),
        (PiecewiseConstant([10, 20], [3, 2, 1]), {0: 3, 10: 3, 11: 2, 20: 2, 21: 1, 999: 1}),
    ],
)
def test_known_rates(schedule: Schedule, rates: dict[int, float]) -> None:
    """By hand."""
    assert {step: schedule.at(step) for step in rates} == pytest.approx(rates)


@given(st.integers(1, 1000), st.integers(0, 100), st.integers(0, 2000))
def test_a_cosine_stays_between_zero_and_its_height(steps: int, warm_up: int, step: int) -> None:
    """Whatever the step."""
    assert 0 <= CosineDecay(0.5, steps, warm_up).at(step) <= 0.5


@pytest.mark.parametrize(
    ("kind", "arguments", "problem"),
    [
        (ExponentialDecay, (0, 0.5, 10), "initial"),
        (ExponentialDecay, (0.1, 1.5, 10), "expected at most 1"),
        (ExponentialDecay, (0.1, 0.5, 0), "steps"),
        (CosineDecay, (0.1, 0), "steps"),
        (CosineDecay, (0.1, 10, -1), "warm_up"),
        (PiecewiseConstant, ([10, 10], [1, 2, 3]), "expected increasing steps"),
        (PiecewiseConstant, ([10], [1]), r"expected one rate more"),
        (PiecewiseConstant, ([10], [1, 0]), "rates"),
        (PiecewiseConstant, (10, [1, 2]), "expected several numbers"),
    ],
)
def test_what_makes_no_sense(kind: type[Any], arguments: tuple[Any, ...], problem: str) -> None:
    """Refused when it is written."""
    with pytest.raises(UsageError, match=problem):
        kind(*arguments)
