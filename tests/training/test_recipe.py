"""Recipes and schedules: their texts, the rates of schedules, and what they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.errors import UsageError
from pytest_dlperf.training.recipe import (
    CosineDecay,
    ExponentialDecay,
    PiecewiseConstant,
    Recipe,
)

if TYPE_CHECKING:
    from pytest_dlperf.training.recipe import Schedule


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"epochs": 0}, r"Recipe\(epochs\)=0"),
        ({"epochs": 1.5}, r"Recipe\(epochs\)=1\.5"),
        ({"batch_size": 0}, r"Recipe\(batch_size\)=0"),
        ({"optimizer": "adagrad"}, r"optimizer\)='adagrad'\n  one of gradient_descent, sgd"),
        ({"learning_rate": 0}, r"learning_rate\)=0"),
        ({"learning_rate": "fast"}, r"learning_rate\)='fast'"),
        ({"momentum": 0.9}, r"momentum\) with optimizer=None\n  it belongs to rmsprop and sgd"),
        ({"momentum": 0.9, "optimizer": "adam"}, "belongs to rmsprop and sgd"),
        ({"momentum": 1.0, "optimizer": "sgd"}, r"momentum=1\)\n  expected less than 1"),
        ({"weight_decay": 0.1, "optimizer": "adam"}, "it belongs to adamw"),
        ({"weight_decay": -1, "optimizer": "adamw"}, r"weight_decay\)=-1"),
        ({"steps_per_execution": 0}, r"steps_per_execution\)=0"),
        ({"jit_compile": "auto"}, r"jit_compile='auto'"),
        ({"precision": "float8"}, r"precision\)='float8'\n  one of float32, mixed_bfloat16"),
        ({"optimizer": "gradient_descent", "batch_size": 32}, "takes all rows at once"),
        ({"optimizer": "gradient_descent", "momentum": 0.9}, "belongs to rmsprop and sgd"),
    ],
)
def test_what_makes_no_sense(fields: dict[str, Any], problem: str) -> None:
    """Refused when it is written, with the field, its value and what to write."""
    with pytest.raises(UsageError, match=problem):
        Recipe(**fields)


def test_its_text_tells_it_from_others() -> None:
    """Trained models are kept under it, so every field that is given shows."""
    recipe = Recipe(
        3,
        batch_size=64,
        optimizer="sgd",
        learning_rate=CosineDecay(0.1, 100, warm_up=10),
        momentum=0.9,
        steps_per_execution=8,
        jit_compile=True,
        precision="mixed_bfloat16",
    )

    assert str(recipe) == (
        "Recipe(epochs=3, batch_size=64, optimizer=sgd, "
        "learning_rate=CosineDecay(initial=0.1, steps=100, warm_up=10), momentum=0.9, "
        "steps_per_execution=8, jit_compile=True, precision=mixed_bfloat16)"
    )


def test_only_plain_gradient_descent_takes_all_rows() -> None:
    """Every other optimizer takes batches."""
    assert Recipe(optimizer="gradient_descent").all_at_once
    assert not Recipe(optimizer="sgd").all_at_once


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
def test_schedules_that_make_no_sense(
    kind: type[Any], arguments: tuple[Any, ...], problem: str
) -> None:
    """Refused when it is written."""
    with pytest.raises(UsageError, match=problem):
        kind(*arguments)
