"""Recipe: what it takes, what it refuses, and how it is written."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_dlperf.errors import UsageError
from pytest_dlperf.training.recipe import CosineDecay, Recipe


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
