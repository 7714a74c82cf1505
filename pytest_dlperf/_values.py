"""Values that users give: names of devices, checks of settings, and their texts."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import reprlib
from collections.abc import Iterable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from _typeshed import DataclassInstance


KINDS: Final = ("cpu", "gpu")
"""Kinds of devices: `cpu:0` is the first of the kind `cpu`."""

_ALL: Final = "all"
_NAME: Final = re.compile(rf"{_ALL}|({'|'.join(KINDS)})(:(0|[1-9][0-9]{{0,3}}))?")
_MOST: Final = 1_000_000
_LARGEST: Final = 1e9
_WHOLE: Final = 1e15  # larger whole numbers are written as floats


def device_names(value: object, what: str) -> tuple[str, ...]:
    """Names of devices, checked and in small letters.

    `value` is one text, with commas between several names, or several texts; `what` is its name in
    messages.

    Raises:
        UsageError: for a name of no device, or one that occurs twice.
    """
    __tracebackhide__ = True
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, Iterable):
        raise UsageError(f"{what}={value!r:.80}", "expected names of devices, such as 'cpu:0'")
    names: dict[str, None] = {}
    for text in given:
        name = text.strip().lower() if isinstance(text, str) else ""
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{what}={value!r:.80}: {text!r:.40} is no device",
                f"expected {', '.join(KINDS)} or {_ALL}, or one device such as cpu:0 or gpu:1",
            )
        if name in names:
            raise UsageError(f"{what}={value!r:.80} names {name} twice")
        names[name] = None
    return tuple(names)


def explicit(names: Iterable[str]) -> bool:
    """Whether each name is that of a single device, so that no look at this machine is needed."""
    return all(":" in name for name in names)


def expand(names: Iterable[str], here: Sequence[str]) -> tuple[str, ...]:
    """The single devices that names stand for, each once; names of no device here stay.

    `cpu` and `gpu` stand for all of a kind, `all` for all.
    """
    expanded: dict[str, None] = {}
    for name in names:
        matches = [device for device in here if name in {_ALL, device.partition(":")[0]}]
        expanded.update(dict.fromkeys(matches or [name]))
    return tuple(expanded)


def absence(name: str, here: Sequence[str]) -> str:
    """The message that a device is not on this machine."""
    return f"there is no {name} here, only {', '.join(here)}"


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
    """Refuse anything but one of the choices.

    Raises:
        UsageError: naming `what`, the value and the choices.
    """
    __tracebackhide__ = True
    if value not in choices:
        raise UsageError(f"{what}={value!r:.80}", f"one of {', '.join(choices)}")


def as_number(value: object) -> float:
    """A real number as a float: NaN for other values (a bool, a text), infinity beyond floats."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def describe(value: DataclassInstance) -> str:
    """`Name(field=value, ...)` with the fields that differ from their defaults.

    Equal numbers (2000 and 2000.0) have equal texts. Baselines store these texts, so a new field
    needs a default, which leaves them as they are.
    """
    shown = [
        f"{field.name}={_plain(getattr(value, field.name))}"
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__}({', '.join(shown)})"


class Described:
    """Base of a setting, a dataclass, whose text is its description."""

    __slots__ = ()

    def __str__(self: DataclassInstance) -> str:
        return describe(self)


def _plain(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < _WHOLE else repr(number)


def short_values(values: Mapping[str, object]) -> dict[str, object]:
    """Parameters of a test by name; values other than numbers and texts are abbreviated."""
    # Arrays as parameters would make files of gigabytes.
    return {name: _short(value) for name, value in values.items()}


def plain_values(values: Mapping[object, object]) -> dict[str, object]:
    """Values by name as JSON values; those that JSON cannot represent as text."""
    return {str(name): _as_json(value) for name, value in values.items()}


def _short(value: object) -> object:
    return value if value is None or isinstance(value, int | float | str) else reprlib.repr(value)


def _as_json(value: object) -> object:
    try:
        plain: object = json.loads(json.dumps(value, default=reprlib.repr, skipkeys=True))
    except (ValueError, RecursionError):  # it contains itself
        return reprlib.repr(value)
    return plain
