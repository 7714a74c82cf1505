"""Checks of numbers that users give, one message for each kind of mistake."""

from __future__ import annotations

import math
from numbers import Integral, Real

from pytest_dlperf.errors import UsageError


def check_count(value: object, what: str) -> None:
    """Refuse anything but a whole number of at least one.

    Raises:
        UsageError: naming `what` and the value.
    """
    __tracebackhide__ = True
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UsageError(f"{what}={value!r}: expected a whole number of at least 1")


def check_number(value: object, what: str, *, above: float | None = None) -> None:
    """Refuse anything but a finite number that is at least zero, or more than `above`.

    Raises:
        UsageError: naming `what` and the value.
    """
    __tracebackhide__ = True
    number = _number(value)
    if math.isfinite(number) and (number >= 0 if above is None else number > above):
        return
    wanted = "of at least 0" if above is None else f"above {above:g}"
    raise UsageError(f"{what}={value!r}: expected a finite number {wanted}")


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
