"""One text for a setting, the same in reports, in identities and in baseline files."""

from __future__ import annotations

import dataclasses
from numbers import Real
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_WHOLE: Final = 1e15  # larger whole numbers are written as floats


def describe(value: DataclassInstance) -> str:
    """`Name(field=value, ...)` with the fields that differ from their defaults.

    Numbers are written shortest; equal ones (2000 and 2000.0) have equal texts.
    A field that is added later with a default leaves the texts of stored baselines as they are.
    """
    shown = [
        f"{field.name}={_plain(getattr(value, field.name))}"
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__}({', '.join(shown)})"


class Described:
    """A setting, a dataclass, whose text is its description."""

    __slots__ = ()

    def __str__(self: DataclassInstance) -> str:
        return describe(self)


def _plain(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < _WHOLE else repr(number)
