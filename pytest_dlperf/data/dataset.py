"""Data sets: inputs with their labels, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pytest_dlperf.data.content import content_hash, distinct_rows
from pytest_dlperf.data.rows import check_finite, read_rows, row_shapes
from pytest_dlperf.data.streams import is_stream, read_stream
from pytest_dlperf.errors import DataError
from pytest_dlperf.trees import as_tree, described, leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.trees import Rows

_MISSING: Final = (
    "Cleaning(missing=...) fills it; with allow_nan=True in the marker a target gets it as it is"
)


@dataclass(frozen=True, slots=True)
class Data:
    """An evaluation set.

    Attributes:
        inputs: numbers or text; an array `(rows, ...)`, or a tree of such arrays.
        labels: the same, or None if answers are not to be scored.
        hash: of the content of both.
        distinct: the number of each row's content, shape `(rows,)`, if some rows are the same and
            answers are scored: they count as one row. See `distinct_rows`.
    """

    inputs: Rows
    labels: Rows | None
    hash: str
    distinct: NDArray[np.int64] | None = None


def as_data(value: object, on_rows: Callable[[int], None] = lambda _: None) -> Data:
    """As `read_data`; inputs have to be finite.

    Raises:
        DataError: as `read_data`; for inputs, names the first bad row.
    """
    data = read_data(value, on_rows)
    check_finite(data.inputs, "inputs", _MISSING)
    return data


def read_data(value: object, on_rows: Callable[[int], None] = lambda _: None) -> Data:
    """Read the user's data: `(inputs, labels)`, an object with both, or a stream of such pairs.

    Labels may be None. Each is an array, or a tree of arrays; see `read_rows`.

    Args:
        value: the data.
        on_rows: is told how many rows of a stream there are so far.

    Raises:
        DataError: if it is neither, or if inputs and labels do not match; names the first bad row.
    """
    parts = parts_of(value)
    if parts is None and is_stream(value):
        parts = read_stream(value, on_rows)
    if parts is None:
        raise DataError(
            f"data of type {type(value).__name__} cannot be used\n"
            "  expected (inputs, labels), an object with .inputs and .labels, or a tf.data.Dataset,"
            " DataLoader or generator of such pairs; labels may be None"
        )
    given, asked = parts
    _check_index(given, asked)
    labels = None if asked is None else read_rows(asked, "labels", _rows_of(given))
    inputs = read_rows(given, "inputs", None if labels is None else len(labels))
    if labels is not None:
        check_finite(labels, "labels")
        if len(labels) != len(inputs):
            raise DataError(f"{len(inputs)} rows of inputs, but {len(labels)} labels")
    distinct = distinct_rows(inputs, labels) if labels is not None else None
    return Data(inputs, labels, content_hash(inputs, labels), distinct)


def _rows_of(inputs: object) -> int | None:
    """The number of rows of a user's inputs, if it is plain to see."""
    if isinstance(inputs, Mapping):
        inputs = next(iter(inputs.values()), None)
    elif isinstance(inputs, tuple) and inputs:
        inputs = inputs[0]
    shape = getattr(inputs, "shape", ())
    return int(shape[0]) if shape else None


def _check_index(inputs: object, labels: object) -> None:
    """Refuse tables of pandas whose rows have other names, or another order, than the labels."""
    if not all(hasattr(part, "index") and hasattr(part, "to_numpy") for part in (inputs, labels)):
        return
    indexes = [list(part.index) for part in (inputs, labels)]  # type: ignore[attr-defined]
    if len(indexes[0]) == len(indexes[1]) and indexes[0] != indexes[1]:
        raise DataError(
            "the rows of inputs and labels have different indexes\n"
            "  align them: labels = labels.loc[inputs.index], or give .to_numpy() of both"
        )


def parts_of(value: object) -> tuple[Any, Any] | None:
    """Inputs and labels of a pair, or of an object that has both; None of anything else."""
    if hasattr(value, "inputs") and hasattr(value, "labels"):
        return value.inputs, value.labels
    if isinstance(value, tuple | list) and len(value) == 2:  # noqa: PLR2004 - a pair
        return value[0], value[1]
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Rows with their labels.

    Attributes:
        inputs: an array `(rows, ...)` of numbers or text, or a tree of such arrays; values may be
            missing (not a number).
        labels: numbers; an array `(rows, ...)`, `Ragged` rows of positions, or a tree of both for
            several outputs.
    """

    inputs: Rows
    labels: Rows

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        labels = read_rows(self.labels, "Examples(labels)", _rows_of(self.inputs), text=False)
        inputs = read_rows(self.inputs, "Examples(inputs)", len(labels))
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "inputs", inputs)
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
        train, test = row_shapes(self.train.inputs), row_shapes(self.test.inputs)
        if train != test:
            raise DataError(f"Split: training rows of shape {train}, but test rows of {test}")
        for part in ("inputs", "labels"):
            kinds = [_kinds(getattr(examples, part)) for examples in (self.train, self.test)]
            if kinds[0] != kinds[1]:
                words = [described(as_tree(getattr(x, part))) for x in (self.train, self.test)]
                raise DataError(f"Split: training {part} are {words[0]}; test {part} {words[1]}")


def _kinds(rows: Rows) -> dict[str, bool]:
    """Whether each leaf is text, by its path."""
    return {path: np.dtype(leaf.dtype).hasobject for path, leaf in leaves(as_tree(rows))}


class Preparation(Protocol):
    """A step of data preprocessing, such as cleaning or normalising.

    Different steps have different `str()`, since it is a part of the trained model's cache key.
    """

    def __call__(self, split: Split) -> Split:
        """Transform all rows, by parameters that are learnt from the training rows only."""
        ...
