"""Rows of many lengths, which batches pad to one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Rows of many lengths, such as the tokens of texts, as inputs or labels of `dlperf`.

    A batch of inputs is padded to its longest row, or to the next of `lengths`. Labels are of the
    positions of a row: answers are compared with them up to its length.

    Args:
        rows: an array or list for each row, shape `(length, ...)`; all but the length is alike.
        pad: what stands behind the end of a row.
        lengths: to which batches are padded, ascending; the longest row fits into the last. None
            pads to the longest row of each batch.
        mask: name of a further input beside this one: 1 where a row has a value, 0 behind its end,
            int32 of shape `(rows, length)`. The rows must then stand in a dict.

    Raises:
        DataError: for rows that have no length or no common type, or that are too long.
    """

    rows: Iterable[Any]
    pad: float = 0
    lengths: Sequence[int] | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PaddedRows:
    """Rows of many lengths, as a leaf of a `RowTree`.

    Attributes:
        values: padded to the longest row, shape `(rows, longest, ...)`.
        ends: the length of each row, shape `(rows,)`.
        sizes: to which batches are padded; empty for the longest row of each.
    """

    values: NDArray[Any]
    ends: NDArray[np.int64]
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ends)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Any:  # noqa: ANN401 - see below
        """A batch of consecutive rows as a read-only array, or copies of some rows."""
        if isinstance(rows, slice):
            return _batch(self.values[rows], batch_length(self.ends[rows], self.sizes))
        return PaddedRows(self.values[rows], self.ends[rows], self.sizes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        """With None for the length."""
        return len(self), None, *self.values.shape[2:]

    @property
    def contents(self) -> tuple[NDArray[Any], ...]:
        """The arrays that it consists of."""
        return self.values, self.ends


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Where rows of many lengths have values, as a leaf of a `RowTree`; attributes as there."""

    ends: NDArray[np.int64]
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ends)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Any:  # noqa: ANN401 - see below
        """The mask of consecutive rows as a read-only array, or that of some rows."""
        ends = self.ends[rows]
        if not isinstance(rows, slice):
            return Mask(ends, self.sizes)
        places = np.arange(batch_length(ends, self.sizes))
        mask = (places < ends[:, np.newaxis]).astype(np.int32)
        mask.flags.writeable = False
        return mask

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the batches."""
        return np.dtype(np.int32)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """With None for the length."""
        return len(self), None

    @property
    def contents(self) -> tuple[NDArray[Any], ...]:
        """The arrays that it consists of."""
        return (self.ends,)


def batch_length(ends: NDArray[np.int64], sizes: Sequence[int]) -> int:
    """The length to which rows of these lengths are padded."""
    longest = int(ends.max(initial=0))
    return sizes[bisect_left(sizes, longest)] if sizes else longest


def _batch(values: NDArray[Any], length: int) -> NDArray[Any]:
    batch: NDArray[Any] = np.ascontiguousarray(values[:, :length])
    batch.flags.writeable = False
    return batch


def padded_rows(ragged: Ragged, what: str) -> PaddedRows:
    """Read the user's rows; `what` names them in messages."""
    if not isinstance(ragged.rows, Iterable):
        raise DataError(f"{what}: Ragged({ragged.rows!r:.60})\n  expected an array for each row")
    rows = [_row(row, number, what) for number, row in enumerate(ragged.rows)]
    if not rows:
        raise DataError(f"{what}: Ragged has no rows")
    # An empty list says nothing of the shape of its values.
    shaped = [number for number, row in enumerate(rows) if len(row) or row.ndim > 1] or [0]
    shape = rows[shaped[0]].shape[1:]
    other = next((number for number in shaped if rows[number].shape[1:] != shape), None)
    if other is not None:
        raise DataError(
            f"{what}: row {other} has values of shape {rows[other].shape[1:]}, row {shaped[0]} of "
            f"shape {shape}\n  rows may differ in their length only"
        )
    ends = np.array([len(row) for row in rows], np.int64)
    sizes = _sizes(ragged.lengths, ends, what)
    dtype = np.result_type(*{row.dtype for row in rows if len(row)} or {rows[0].dtype})
    if not _is_value(ragged.pad, dtype):
        raise DataError(f"{what}: pad={ragged.pad!r} is no value of type {dtype}")
    longest = max(int(ends.max()), sizes[-1] if sizes else 0)
    values = np.full((len(rows), longest, *shape), ragged.pad, dtype)
    for row, padded, end in zip(rows, values, ends, strict=True):
        if end:
            padded[:end] = row
    return PaddedRows(values, ends, sizes)


def _is_value(pad: float, dtype: np.dtype[Any]) -> bool:
    """Whether a number can stand among others of a type."""
    if dtype.kind == "f":
        return np.can_cast(np.min_scalar_type(pad), dtype, "same_kind")
    lowest, highest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return isinstance(pad, int | float | np.number) and bool(
        lowest <= pad <= highest and pad == int(pad)
    )


def _row(row: object, number: int, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(row)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: row {number} cannot be read as one array: {error}") from None
    if array.ndim == 0 or (array.dtype.kind not in "biuf" and array.size):
        raise DataError(
            f"{what}: row {number} is {row!r:.60}; expected an array of numbers with a length"
        )
    return array


def _sizes(lengths: object, ends: NDArray[np.int64], what: str) -> tuple[int, ...]:
    if lengths is None:
        return ()
    given = tuple(lengths) if isinstance(lengths, Sequence) else ()
    whole = all(isinstance(length, int) and length > 0 for length in given)
    if not given or not whole or list(given) != sorted(set(given)):
        raise DataError(
            f"{what}: Ragged(lengths={lengths!r:.80})\n  expected ascending lengths, such as "
            "(16, 32, 64)"
        )
    if ends.max() > given[-1]:
        row = int(ends.argmax())
        raise DataError(
            f"{what}: row {row} has length {ends[row]}, but Ragged(lengths={given}) ends before\n"
            "  cut the rows, or add a length"
        )
    return given


def padding_share(leaf: PaddedRows, batch_sizes: Mapping[int, int]) -> float:
    """The share of padding in batches of consecutive rows.

    Args:
        leaf: the rows, in the order in which they are sent.
        batch_sizes: how many batches there are of each size.
    """
    sent = kept = 0.0
    for size, count in batch_sizes.items():
        ends = np.resize(leaf.ends, -(-len(leaf) // size) * size).reshape(-1, size)
        lengths = [batch_length(batch, leaf.sizes) for batch in ends]
        sent += count * size * float(np.mean(lengths))
        kept += count * float(ends.sum(axis=1).mean())
    return 1 - kept / sent if sent else 0.0
