"""Data sets: inputs with their labels, checked once."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pytest_dlperf.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


_CHUNK_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Data:
    """An evaluation set.

    Attributes:
        inputs: shape `(rows, ...)`, numeric.
        labels: shape `(rows, ...)`, or None if answers are not to be scored.
        hash: of the content of both.
        distinct: the number of each row's content, shape `(rows,)`, if some rows are the same and
            answers are scored: they count as one row. See `distinct_rows`.
    """

    inputs: NDArray[Any]
    labels: NDArray[Any] | None
    hash: str
    distinct: NDArray[np.int64] | None = None


def as_data(value: object) -> Data:
    """Read the user's data: `(inputs, labels)`, or an object with both; labels may be None.

    Raises:
        DataError: if it is neither, or if inputs and labels do not match; names the first bad row.
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
    distinct = distinct_rows(inputs, labels) if labels is not None else None
    return Data(inputs, labels, content_hash(inputs, labels), distinct)


def parts_of(value: object) -> tuple[Any, Any] | None:
    """Inputs and labels of a pair, or of an object that has both; None of anything else."""
    if hasattr(value, "inputs") and hasattr(value, "labels"):
        return value.inputs, value.labels
    if isinstance(value, tuple | list) and len(value) == 2:  # noqa: PLR2004 - a pair
        return value[0], value[1]
    return None


def check_finite(values: NDArray[Any], what: str) -> None:
    """Raise a DataError that names the first row with a value that is not finite."""
    if values.dtype.kind != "f":
        return
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if len(bad):
        more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise DataError(f"{what}: row {int(bad[0])} has a value that is not finite{more}")


def content_hash(*arrays: NDArray[Any] | None) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of types, shapes and contents."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none")
            continue
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def distinct_rows(*arrays: NDArray[Any] | None) -> NDArray[np.int64] | None:
    """The number of each row's content, shape `(rows,)`; None if no two rows are the same.

    Contents are numbered from 0 in the order in which they first occur. Rows are the same if they
    are in all arrays, such as inputs and labels, byte by byte.
    """
    hashes = [_row_hashes(array) for array in arrays if array is not None]
    _, first, number = np.unique(np.stack(hashes), axis=1, return_index=True, return_inverse=True)
    if len(first) == len(hashes[0]):
        return None
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[number.reshape(-1)]


def _row_hashes(array: NDArray[Any]) -> NDArray[np.uint64]:
    """A hash of 64 bits of each row, shape `(rows,)`: a sum of its mixed and numbered words."""
    rows = len(array)
    size = array.dtype.itemsize * math.prod(array.shape[1:])
    words = -(-size // 8)
    keys = np.random.default_rng(0).integers(0, 2**64, words, np.uint64)
    hashes = np.zeros(rows, np.uint64)
    step = max(1, _CHUNK_BYTES // max(1, 8 * words))
    for start in range(0, rows, step):
        part = np.ascontiguousarray(array[start : start + step])
        count = len(part)
        padded = np.zeros((count, 8 * words), np.uint8)
        padded[:, :size] = part.view(np.uint8).reshape(count, size)
        mixed = padded.view(np.uint64) + keys
        # The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            mixed ^= mixed >> np.uint64(shift)
            mixed *= np.uint64(factor)
        hashes[start : start + step] = mixed.sum(axis=1, dtype=np.uint64)
    return hashes


def as_rows(value: object, what: str) -> NDArray[Any]:
    """Read numbers with one leading axis of rows; values may be missing (not a number).

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

    Attributes:
        inputs: shape `(rows, ...)`, numeric; values may be missing (not a number).
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
    """Training and test rows, of the same shape."""

    train: Examples
    test: Examples

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        train, test = self.train.inputs.shape[1:], self.test.inputs.shape[1:]
        if train != test:
            raise DataError(f"Split: training rows of shape {train}, but test rows of {test}")


class Preparation(Protocol):
    """A step of data preprocessing, such as cleaning or normalising.

    Different steps have different `str()`, since it is a part of the trained model's cache key.
    """

    def __call__(self, split: Split) -> Split:
        """Transform all rows, by parameters that are learnt from the training rows only."""
        ...
