"""Checks of numbers that users give, one message for each kind of mistake."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Final

from pytest_dlperf.errors import UsageError

_MOST: Final = 1_000_000
_LARGEST: Final = 1e9


def check_count(value: object, what: str) -> None:
    """Refuse anything but a whole number of at least one and at most a million.

    Raises:
        UsageError: naming `what` and the value.
    """
    __tracebackhide__ = True
    if not isinstance(value, Integral) or not 1 <= as_number(value) <= _MOST:
        wanted = f"a whole number of at least 1, at most {_MOST:,}"
        raise UsageError(f"{what}={value!r:.80}: expected {wanted}")


def check_number(value: object, what: str, *, above: float | None = None) -> None:
    """Refuse anything but a number that is at least zero, or more than `above`; at most 1e9.

    Raises:
        UsageError: naming `what` and the value.
    """
    __tracebackhide__ = True
    number = as_number(value)
    if number <= _LARGEST and (number >= 0 if above is None else number > above):
        return
    wanted = "a number of at least 0" if above is None else f"a number above {above:g}"
    raise UsageError(f"{what}={value!r:.80}: expected {wanted}, at most {_LARGEST:g}")


def check_choice(value: object, choices: tuple[str, ...], what: str) -> None:
    """Refuse anything but one of some texts.

    Raises:
        UsageError: naming `what`, the value and the choices.
    """
    __tracebackhide__ = True
    if value not in choices:
        raise UsageError(f"{what}={value!r:.80}", f"one of {', '.join(choices)}")


def as_number(value: object) -> float:
    """A real number as a float: NaN for what is none (a bool, a text), infinity beyond floats."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
