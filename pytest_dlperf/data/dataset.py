"""Data: rows to ask and the labels that go with them, checked once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_dlperf.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Data:
    """An evaluation set.

    Attributes:
        inputs: shape `(rows, ...)`, numeric.
        labels: shape `(rows, ...)`, or None if answers are not to be scored.
        hash: of the content of both.
    """

    inputs: NDArray[Any]
    labels: NDArray[Any] | None
    hash: str


def as_data(value: object) -> Data:
    """Read what the user gave as data.

    Args:
        value: `(inputs, labels)`, or an object with `.inputs` and `.labels`; labels may be None.

    Raises:
        DataError: if it is neither, or if rows and labels do not match; names the first bad row.
    """
    parts = parts_of(value)
    if parts is None:
        raise DataError(
            f"data of type {type(value).__name__} cannot be used\n"
            "  expected (inputs, labels), or an object with .inputs and .labels; "
            "labels may be None"
        )
    inputs, labels = parts
    inputs = as_rows(inputs, "inputs")
    check_finite(inputs, "inputs")
    if labels is not None:
        labels = as_rows(labels, "labels")
        check_finite(labels, "labels")
        if len(labels) != len(inputs):
            raise DataError(f"{len(inputs)} rows of inputs, but {len(labels)} labels")
    return Data(inputs, labels, content_hash(inputs, labels))


def parts_of(value: object) -> tuple[Any, Any] | None:
    """Inputs and labels of a pair of them, or of an object that has both; None of anything else."""
    if hasattr(value, "inputs") and hasattr(value, "labels"):
        return value.inputs, value.labels
    if isinstance(value, tuple | list) and len(value) == 2:  # noqa: PLR2004 - a pair
        return value[0], value[1]
    return None


def check_finite(values: NDArray[Any], what: str) -> None:
    """Refuse values that are not finite.

    Raises:
        DataError: naming the first bad row.
    """
    if values.dtype.kind != "f":
        return
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if len(bad):
        more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise DataError(f"{what}: row {int(bad[0])} has a value that is not finite{more}")


def content_hash(*arrays: NDArray[Any] | None) -> str:
    """SHA-256 of the types, shapes and contents, 16 hexadecimal digits of it."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none")
            continue
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def as_rows(value: object, what: str) -> NDArray[Any]:
    """Read numbers with one leading axis of rows; they may be missing (not a number).

    Raises:
        DataError: naming `what`, if it is no array of numbers, or has no rows.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} cannot be read as one array: {error}") from None
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} are of type {array.dtype}; expected numbers")
    if array.ndim == 0 or not len(array):
        raise DataError(f"{what} of shape {array.shape} have no rows")
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Rows with their labels.

    Values may be missing (not a number) until they are cleaned.

    Attributes:
        inputs: shape `(rows, ...)`, numeric.
        labels: shape `(rows, ...)`.
    """

    inputs: NDArray[Any]
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        for name in ("inputs", "labels"):
            object.__setattr__(self, name, as_rows(getattr(self, name), f"Examples({name})"))
        if len(self.labels) != len(self.inputs):
            raise DataError(
                f"Examples: {len(self.inputs)} rows of inputs, but {len(self.labels)} labels"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """What a model learns from, and what it is asked.

    Attributes:
        train: rows to learn from.
        test: rows held back, of the same shape.
    """

    train: Examples
    test: Examples

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        learnt, asked = self.train.inputs.shape[1:], self.test.inputs.shape[1:]
        if learnt != asked:
            raise DataError(
                f"Split: rows of shape {learnt} to learn from, but of shape {asked} held back"
            )


class Preparation(Protocol):
    """A step of data preprocessing, such as cleaning or normalising.

    Its `str()` tells it from every other one: trained models are kept under it.
    """

    def __call__(self, split: Split) -> Split:
        """Rows as this step makes them; what it learns, it learns from the training rows only."""
        ...
