"""Plain values: what users put anywhere, as JSON can hold it."""

from __future__ import annotations

import json
import reprlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def short_values(values: Mapping[str, object]) -> dict[str, object]:
    """Parameters of a test, by name; of anything but numbers and texts only its beginning.

    Arrays as parameters have made files of gigabytes elsewhere.
    """
    return {name: _short(value) for name, value in values.items()}


def plain_values(values: Mapping[object, object]) -> dict[str, object]:
    """Values by name, whole; what JSON does not know as text."""
    return {str(name): _plain(value) for name, value in values.items()}


def _short(value: object) -> object:
    return value if value is None or isinstance(value, int | float | str) else reprlib.repr(value)


def _plain(value: object) -> object:
    try:
        plain: object = json.loads(json.dumps(value, default=reprlib.repr, skipkeys=True))
    except (ValueError, RecursionError):  # it contains itself
        return reprlib.repr(value)
    return plain
