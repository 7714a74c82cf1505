"""Parsers of option values that are more than text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pytest_dlperf._values import device_names
from pytest_dlperf.config.baseline_source import parse_baseline_source
from pytest_dlperf.config.detect import parse_detect
from pytest_dlperf.errors import UsageError
from pytest_dlperf.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HISTORY_VARIABLE: Final = "DLPERF_HISTORY"
"""The environment variable with the history's URL, if no option gives it."""

NO_HISTORY: Final = "none"
"""In place of a database's URL: record nothing."""

_URL: Final = re.compile(r"[A-Za-z][\w+.-]*://")


def _count(value: object, spelt: str, least: int, most: int) -> int:
    text = str(value)
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        raise UsageError(f"{spelt}={value!r:.80}: expected a number from {least} to {most}")
    return int(text)


def _counted(least: int, most: int) -> Callable[[object, str], int]:
    return lambda value, spelt: _count(value, spelt, least, most)


def check_not_empty(value: object, spelt: str) -> None:
    """Refuse what is given and empty, as a variable of CI that is not set.

    It would turn off in silence what it was to turn on.

    Raises:
        UsageError: naming the option, ini key or variable.
    """
    if not value or (isinstance(value, list) and "" in value):
        raise UsageError(f"{spelt} is given, and empty", "give a value, or leave it out")


def parse_history(value: object, spelt: str) -> str:
    """Check a database's URL. It may hold a password, so it is never shown.

    Raises:
        UsageError: if it is neither a URL nor `none`.
    """
    text = str(value)
    check_not_empty(text, spelt)
    if text != NO_HISTORY and not _URL.match(text):
        raise UsageError(
            f"{spelt}: that is no URL of a database (it is not shown, for it may hold a password)",
            "expected sqlite:///FILE, postgresql://USER@HOST/DATABASE, or none",
        )
    return text


def chosen_history(given: str | None, spelt: str, variable: str | None) -> str:
    """The history's URL from an option, or else from the environment variable; empty if neither.

    Args:
        given: the option's value.
        spelt: the option as the user writes it.
        variable: the environment variable's value, checked whether or not it is used.

    Raises:
        UsageError: as `parse_history`.
    """
    of_variable = "" if variable is None else parse_history(variable, HISTORY_VARIABLE)
    return parse_history(given, spelt) if given is not None else of_variable


def _output(value: object, spelt: str) -> object:
    if (isinstance(value, str) and value) or callable(value):
        return value
    raise UsageError(
        f"{spelt}={value!r:.80}",
        "expected the path of an output, such as 'scores' or 'heads.0', or a function of them all",
    )


def _yes_or_no(value: object, spelt: str) -> bool:
    if isinstance(value, bool):
        return value
    raise UsageError(f"{spelt}={value!r:.80}", "expected True or False")


PARSERS: Final[Mapping[str, Callable[[object, str], object]]] = {
    "duration": parse_duration,
    "slo": parse_duration,
    "call_timeout": parse_duration,
    "budget_time": parse_duration,
    "detect": parse_detect,
    "devices": device_names,
    "output": _output,
    "allow_nan": _yes_or_no,
    "logical_cpus": _counted(1, 64),
    "seed": _counted(0, 2**63 - 1),
    "baseline": parse_baseline_source,
    "history": parse_history,
}
"""By option; each takes a value and the option's spelling, for messages."""
