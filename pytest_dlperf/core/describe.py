"""One text for a setting, the same in reports, in identities and in baseline files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def describe(value: DataclassInstance) -> str:
    """`Name(field=value, ...)` with the fields that differ from their defaults.

    Values are numbers; equal ones (2000 and 2000.0) have equal texts.
    A field that is added later with a default leaves the texts of stored baselines as they are.
    """
    shown = [
        f"{field.name}={getattr(value, field.name):.12g}"
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__}({', '.join(shown)})"
