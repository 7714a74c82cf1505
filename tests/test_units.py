"""Units: numbers to text for people, and text to numbers."""

from __future__ import annotations

import doctest
import importlib
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_dlperf.errors import UsageError
from pytest_dlperf.units import (
    UNITS,
    format_change,
    format_interval,
    format_quantity,
    parse_duration,
    signed,
)

if TYPE_CHECKING:
    from pytest_dlperf.units import Dimension


@pytest.mark.parametrize("name", ["units", "config.budgets", "statistics.percentiles"])
def test_examples_in_docstrings(name: str) -> None:
    """The examples that the docstrings show give what they show."""
    result = doctest.testmod(importlib.import_module(f"pytest_dlperf.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("given_value", "seconds"),
    [
        (5, 5.0),
        (0.25, 0.25),
        ("5", 5.0),
        ("5s", 5.0),
        (" 5 s ", 5.0),
        ("500ms", 0.5),
        ("500 ms", 0.5),
        ("250us", 250e-6),
        ("250µs", 250e-6),
        ("7ns", 7e-9),
        ("2min", 120.0),
        ("1.5min", 90.0),
        ("1e-3s", 1e-3),
        ("1_000ms", 1.0),
    ],
)
def test_parse_duration_reads(given_value: object, seconds: float) -> None:
    """A length of time is a number of seconds, or text with a unit of time."""
    assert parse_duration(given_value, "duration") == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        0.0,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        "",
        "s",
        "-5s",
        "0s",
        "5 parsecs",
        "5%",
        "5/s",
        "5KiB",
        "1e999s",
        "5s5s",
        "five",
        pytest.param("1_", id="dangling underscore"),
        pytest.param("1__0s", id="two underscores"),
        pytest.param("1_.5s", id="underscore before the point"),
        pytest.param(10**400, id="an integer beyond floats"),
    ],
)
def test_parse_duration_refuses(value: object) -> None:
    """What is no positive, finite time is refused, by the name of the option and its value."""
    with pytest.raises(UsageError, match=r"^duration=.*(is not a length of time|more than 0)"):
        parse_duration(value, "duration")


@pytest.mark.parametrize("value", [0, 0.0, "0", "0ms", "0.0s"])
def test_no_time_at_all_is_a_length_that_is_too_short(value: object) -> None:
    """The message does not say that 0ms is no length of time."""
    with pytest.raises(UsageError, match=r"^slo=.*: expected more than 0"):
        parse_duration(value, "slo")


@given(st.text(alphabet="0123456789_.eE+- mnuµsin", max_size=8))
@example("1_")
def test_parse_duration_of_any_text(text: str) -> None:
    """Any text is a positive time or a usage error, nothing else."""
    try:
        seconds = parse_duration(text, "duration")
    except UsageError:
        return
    assert 0 < seconds < float("inf")


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (0.00214, "s", "2.14 ms"),
        (0.0, "s", "0 ns"),
        (3e-9, "s", "3 ns"),
        (0.000150, "s", "150 us"),
        (1.5, "s", "1.5 s"),
        (59.0, "s", "59 s"),
        (90.0, "s", "1.5 min"),
        (-0.002, "s", "-2 ms"),
        (61234.7, "1/s", "61,235/s"),
        (99.5, "1/s", "99.5/s"),
        (1_500_000.0, "1/s", "1.50M/s"),
        (0.0009996, "s", "1 ms"),
        (0.97222, "share", "97.22 %"),
        (0.0, "share", "0.00 %"),
        (1.0, "share", "100.00 %"),
        (1023.0, "bytes", "1023 B"),
        (1.5 * 2**30, "bytes", "1.5 GiB"),
        (200 * 2**20, "bytes", "200 MiB"),
        (2.0**10, "bytes", "1 KiB"),
        (0.123456, "1", "0.1235"),
        (float("inf"), "s", "inf"),
        (float("nan"), "1/s", "nan"),
    ],
)
def test_format_quantity(value: float, dimension: Dimension, text: str) -> None:
    """A value is shown with about three digits, in a unit that fits its size."""
    assert format_quantity(value, dimension) == text


@pytest.mark.parametrize(
    ("low", "high", "dimension", "text"),
    [
        (0.001, 0.002, "s", "1 to 2 ms"),
        (0.0005, 0.002, "s", "500 us to 2 ms"),
        (1.0, 2.0, "s", "1 to 2 s"),
        (0.5, 2.0, "s", "500 ms to 2 s"),
        (0.9, 0.95, "share", "90.00 to 95.00 %"),
        (900.0, 1100.0, "1/s", "900 to 1,100/s"),
        (1.5e6, 2.5e6, "1/s", "1.50 to 2.50M/s"),
        (9e5, 2.5e6, "1/s", "900,000/s to 2.50M/s"),
        (2.0**20, 2.0**21, "bytes", "1 to 2 MiB"),
    ],
)
def test_format_interval(low: float, high: float, dimension: Dimension, text: str) -> None:
    """An interval names its unit once, or twice where the ends have different ones."""
    assert format_interval(low, high, dimension) == text


@pytest.mark.parametrize(
    ("change", "dimension", "text"),
    [
        (-0.0004, "s", "+0.0"),
        (0.123, "s", "+12.3"),
        (-1.0, "1/s", "-100.0"),
        (10.01, "s", ">+1000"),
        (-0.00004, "share", "+0.00"),
        (-0.005, "share", "-0.50"),
    ],
)
def test_changes(change: float, dimension: Dimension, text: str) -> None:
    """A sign always, never -0, a bound instead of a very large change; shares are in points."""
    assert signed(change, dimension) == text
    unit = "pt" if dimension == "share" else "%"
    assert format_change(change, dimension) == f"{text} {unit}"


_WRITTEN = re.compile(r"(-?[0-9.,e+-]+) ?(\S+)")
_SHOWN_UNITS = {**UNITS, "M/s": ("1/s", 1e6)}
_QUANTITIES = st.one_of(
    st.tuples(st.just("s"), st.floats(1e-8, 1e5)),
    st.tuples(st.just("1/s"), st.floats(0.01, 1e9)),
    st.tuples(st.just("bytes"), st.floats(100, 1e13)),
)


@given(_QUANTITIES)
@example(("s", 61.0))
@example(("s", 0.0009996))
@example(("1/s", 1_499_999.0))
@example(("bytes", 1023.7 * 1024))
def test_what_is_shown_is_what_was_measured(quantity: tuple[Dimension, float]) -> None:
    """The text is within half a percent of the value."""
    dimension, value = quantity
    match = _WRITTEN.fullmatch(format_quantity(value, dimension))
    assert match is not None
    shown_dimension, factor = _SHOWN_UNITS[match[2]]
    assert shown_dimension == dimension
    assert float(match[1].replace(",", "")) * factor == pytest.approx(value, rel=0.0051)
