"""Knobs: one thing to try, with its values."""

from __future__ import annotations

import pytest
from studies import a_knob

from pytest_dlperf.errors import UsageError
from pytest_dlperf.tuning.configuration import Knob


def test_the_first_value_is_the_default() -> None:
    """What is there without tuning is the first value."""
    assert a_knob("units", 64, 32).default == 64


def test_values_are_found_by_their_texts() -> None:
    """A journal keeps texts; they lead back to the very values."""
    knob = a_knob("units", None, 32, "32.5")

    assert [knob.value_of(text) for text in ("None", "32", "32.5")] == [None, 32, "32.5"]
    with pytest.raises(ValueError, match="no value '16'"):
        knob.value_of("16")


@pytest.mark.parametrize(
    ("name", "values", "stage", "problem"),
    [
        pytest.param("two words", (1, 2), "model", "Python identifier", id="name"),
        pytest.param("units", (1,), "model", "at least two", id="one value"),
        pytest.param("units", (), "model", "at least two", id="no value"),
        pytest.param("units", (1, "1"), "model", "all different", id="the same text"),
        pytest.param(
            "units", (1, 2), "cooking", "one of data, model, training, serving", id="stage"
        ),
    ],
)
def test_what_is_no_knob(name: str, values: tuple[object, ...], stage: str, problem: str) -> None:
    """A knob that could not be told apart from others, or tried, is refused in words."""
    with pytest.raises(UsageError, match=problem):
        Knob(name, values, stage, lambda setup, _: setup)  # type: ignore[arg-type]  # the mistake
