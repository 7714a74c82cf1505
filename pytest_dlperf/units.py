"""Units of measure: the one place where quantities and changes are parsed and formatted.

Values inside the package are floats in the base unit of their dimension: seconds (`s`), events a
second (`1/s`), a share of one (`share`), bytes (`bytes`), or a bare number (`1`).
"""

from __future__ import annotations

import math
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pytest_dlperf._values import as_number
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

Dimension: TypeAlias = Literal["s", "1/s", "share", "bytes", "1"]

UNITS: Final = MappingProxyType[str, tuple[Dimension, float]](
    {
        "ns": ("s", 1e-9),
        "us": ("s", 1e-6),
        "µs": ("s", 1e-6),
        "ms": ("s", 1e-3),
        "s": ("s", 1.0),
        "min": ("s", 60.0),
        "/s": ("1/s", 1.0),
        "/min": ("1/s", 1 / 60),
        "%": ("share", 0.01),
        "pt": ("share", 0.01),
        "B": ("bytes", 1.0),
        "KB": ("bytes", 1e3),
        "MB": ("bytes", 1e6),
        "GB": ("bytes", 1e9),
        "KiB": ("bytes", 2.0**10),
        "MiB": ("bytes", 2.0**20),
        "GiB": ("bytes", 2.0**30),
    }
)
"""The dimension of each unit, and its size in the base unit."""

EXAMPLES: Final = MappingProxyType[Dimension, str](
    {"s": "20ms", "1/s": "5000/s", "share": "97% or 0.97", "bytes": "1.5GiB", "1": "0.25"}
)
"""An example of a quantity of each dimension, for hints."""

_DURATION: Final = re.compile(r"\s*([0-9]+(?:_[0-9]+)*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")
_MINUTE_S: Final = 60.0
_LONGEST_S: Final = 1e9
_LARGE: Final = 100.0
_MILLION: Final = 1e6
_STABLE: Final = 6  # digits that errors of rounding do not reach
_LARGEST_CHANGE: Final = 10.0  # as a ratio minus one; larger ones are rarely known any better


def parse_duration(value: object, what: str) -> float:
    """Seconds from a number of seconds or from text such as `5`, `500ms` or `2min`.

    Raises:
        UsageError: if it is no positive, finite time; names the option `what`.

    >>> parse_duration("500ms", "duration")
    0.5
    """
    __tracebackhide__ = True
    problem = UsageError(f"{what}={value!r} is not a length of time", "write 5, '5s' or '500ms'")
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        dimension, factor = UNITS.get((match[2] or "s") if match else "", ("1", 0.0))
        if match is None or dimension != "s":
            raise problem
        seconds = float(match[1]) * factor
    else:
        seconds = as_number(value)
    if seconds <= 0:
        raise UsageError(f"{what}={value!r}: expected more than 0", "write 5, '5s' or '500ms'")
    if not seconds <= _LONGEST_S:
        raise problem
    return seconds


def format_quantity(value: float, dimension: Dimension) -> str:
    """A value with about three digits and its unit.

    >>> format_quantity(0.00214, "s")
    '2.14 ms'
    >>> format_quantity(61235.2, "1/s")
    '61,235/s'
    >>> format_quantity(0.97222, "share")
    '97.22 %'
    """
    if not math.isfinite(value):
        return str(value)
    match dimension:
        case "s":
            return _format_seconds(value)
        case "1/s":
            return _format_rate(value)
        case "share":
            return f"{value * 100:.2f} %"
        case "bytes":
            return _format_bytes(value)
        case "1":
            return f"{value:.4g}"


def format_interval(low: float, high: float, dimension: Dimension) -> str:
    """Two values, with their unit once if it is the same.

    >>> format_interval(0.001, 0.002, "s")
    '1 to 2 ms'
    >>> format_interval(0.001, math.inf, "s")
    '1 ms or more'
    """
    if math.isinf(high):
        return f"{format_quantity(low, dimension)} or more"
    first, last = format_quantity(low, dimension), format_quantity(high, dimension)
    number, unit = _split(first)
    return f"{number if unit == _split(last)[1] else first} to {last}"


def _split(quantity: str) -> tuple[str, str]:
    number = quantity.rstrip("/ %ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return number, quantity[len(number) :]


def format_percent(share: float) -> str:
    """A share of one in percent, with one decimal."""
    return f"{share * 100:.1f} %"


def change_unit(dimension: Dimension) -> str:
    """Changes are shown in percent, those of shares in percentage points."""
    return "pt" if dimension == "share" else "%"


def format_change(change: float, dimension: Dimension, digits: int | None = None) -> str:
    """A change with its sign and unit.

    Args:
        change: a ratio minus one; of shares a difference.
        dimension: of the values that are compared.
        digits: after the decimal point; by default 1 for percent and 2 for points.

    >>> format_change(-0.1234, "s")
    '-12.3 %'
    """
    return f"{signed(change, dimension, digits)} {change_unit(dimension)}"


def format_change_interval(
    low: float, high: float, dimension: Dimension, digits: int | None = None
) -> str:
    """The ends of a change's interval, without their unit."""
    return f"{signed(low, dimension, digits)} to {signed(high, dimension, digits)}"


def format_loss(size: float, dimension: Dimension, rounded: Callable[[float], int]) -> str:
    """The size of a loss or a gain, without a sign, rounded by `math.ceil` or `math.floor`.

    >>> format_loss(0.0412, "s", math.ceil), format_loss(0.0412, "s", math.floor)
    ('4.2 %', '4.1 %')
    >>> format_loss(0.0412, "share", math.ceil)
    '4.12 pt'
    """
    digits = 2 if dimension == "share" else 1
    steps = round(size * 100 * 10**digits, _STABLE)  # 4.1 % is no more than 4.1 %
    return f"{rounded(steps) / 10**digits:.{digits}f} {change_unit(dimension)}"


def signed(change: float, dimension: Dimension, digits: int | None = None) -> str:
    """A change as `format_change` shows it, without its unit."""
    if change > _LARGEST_CHANGE:
        return f">{_LARGEST_CHANGE * 100:+.0f}"
    if digits is None:
        digits = 2 if dimension == "share" else 1
    # Plus 0, so that nothing is shown as -0.
    return f"{round(change * 100, digits) + 0.0:+.{digits}f}"


def _format_seconds(value: float) -> str:
    if abs(value) >= _MINUTE_S:
        return f"{_digits(value / _MINUTE_S)} min"
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if _fits(value, factor):
            return f"{_digits(value / factor)} {unit}"
    return f"{_digits(value / 1e-9)} ns"


def _format_rate(value: float) -> str:
    if abs(value) >= _MILLION:
        return f"{value / _MILLION:.2f}M/s"
    return f"{value:,.0f}/s" if abs(value) >= _LARGE else f"{value:.3g}/s"


def _format_bytes(value: float) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        factor = UNITS[unit][1]
        if abs(value) >= factor:
            return f"{_digits(value / factor)} {unit}"
    return f"{value:.0f} B"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= _LARGE else f"{value:.3g}"


def _fits(value: float, factor: float) -> bool:
    # What rounds to 1000 of the smaller unit is 1 of the larger one.
    return abs(value) >= factor * (1 - 0.5 / 1000)
