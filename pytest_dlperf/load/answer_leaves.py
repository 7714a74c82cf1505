"""One output of a target's answer: an array of numbers or text, or rows of different shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Leaf: TypeAlias = "NDArray[Any] | list[Any]"
"""One output of a batch: an array `(rows, ...)`, or a list of rows of different shapes."""

_NUMBERS: Final = "biuf"
_PLAIN: Final = frozenset("?bBhHiIlLqQefd")
"""Type codes of numpy's numbers."""
_TEXT: Final = "OUST"


class MisfitError(ValueError):
    """An answer that is not laid out as those before; its text says where and how."""


def read_leaf(value: object, rows: int, path: str) -> Leaf:
    """One output as an array of numbers or text, or as a list of rows of different shapes."""
    array = value if isinstance(value, np.ndarray) else stacked(value)
    if array is None:
        try:
            by_row = [np.asarray(row) for row in value]  # type: ignore[attr-defined]  # has items
        except (TypeError, ValueError) as error:
            raise MisfitError(f"answered rows{at_path(path)} that are no arrays: {error}") from None
        if len(by_row) != rows or not all(map(_is_known, by_row)):
            raise MisfitError(misfit_words(by_row, rows, path))
        return [plain(row) for row in by_row]
    if array.shape[:1] != (rows,) or not _is_known(array):
        raise MisfitError(misfit_words(array, rows, path))
    return plain(array)


def stacked(value: object) -> NDArray[Any] | None:
    """A list of rows as one array; None if their shapes differ."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        if isinstance(value, list | tuple):
            return None
        raise MisfitError(f"answered an object of type {type(value).__name__}") from None
    nested = array.dtype.kind == "O" and not all(isinstance(x, str | bytes) for x in array.flat)
    return None if nested and isinstance(value, list | tuple) else array


def is_plain(outputs: object) -> TypeGuard[NDArray[Any]]:
    """Whether this is an array of numpy's numbers; quick, as it is asked of each answer."""
    return type(outputs) is np.ndarray and outputs.dtype.char in _PLAIN


def is_numeric(array: NDArray[Any]) -> bool:
    """Whether these are numbers, of numpy or shorter."""
    return array.dtype.kind in _NUMBERS or _is_short(array)


def _is_known(array: NDArray[Any]) -> bool:
    if array.dtype.kind == "O":
        return all(isinstance(text, str | bytes) for text in array.flat)
    return array.dtype.kind in _TEXT or is_numeric(array)


def _is_short(array: NDArray[Any]) -> bool:
    """Whether these are bfloat16, or floats of 8 bits, which numpy itself does not know."""
    return array.dtype.kind == "V" and "float" in array.dtype.name


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in a type that numpy knows."""
    return array.astype(np.float32) if _is_short(array) else array


def row_shape(leaf: Leaf) -> tuple[int, ...] | None:
    """The shape of a row; None if rows differ, or are no numbers."""
    return None if isinstance(leaf, list) or not is_numeric(leaf) else leaf.shape[1:]


def position_shape(leaf: Leaf) -> tuple[int, ...] | None:
    """The shape of one position, if rows are numbers with a length; None if they are not.

    Rows without a position tell nothing.
    """
    if not isinstance(leaf, list):
        return leaf.shape[2:] if leaf.ndim > 1 and is_numeric(leaf) else None
    shapes = {row.shape[1:] if row.ndim and is_numeric(row) else None for row in leaf if row.size}
    return shapes.pop() if len(shapes) == 1 else None


def has_values(leaf: Leaf) -> bool:
    """Whether any row has a value."""
    return any(row.size for row in leaf) if isinstance(leaf, list) else leaf.size > 0


def joined_leaves(parts: Sequence[Leaf]) -> Leaf:
    """The rows of one output of several answers: a list where their shapes differ."""
    arrays = [part for part in parts if not isinstance(part, list)]
    if len(arrays) == len(parts) and len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    return [row for part in parts for row in part]


def finite_rows(part: Leaf) -> NDArray[np.bool_]:
    """Which rows of an output have finite numbers only, or are no numbers, shape `(rows,)`."""
    if isinstance(part, list):
        known = [row.dtype.kind != "f" or bool(np.isfinite(row).all()) for row in part]
        return np.array(known, np.bool_)
    if part.dtype.kind != "f":
        return np.ones(len(part), np.bool_)
    return np.asarray(np.isfinite(part.reshape(len(part), -1)).all(axis=1))


def misfit_words(leaf: Leaf, rows: int, path: str) -> str:
    """Why an output does not fit a batch of so many rows, in words."""
    counted = (len(leaf),) if isinstance(leaf, list) else leaf.shape[:1]
    if path and counted and counted != (rows,):
        return f"{path}: {counted[0]} rows for a batch of {rows}"
    if path:
        return f"{path}: {leaf_words(leaf)} for a batch of {rows}"
    text = f"answered {leaf_words(leaf)} to a batch of {rows}"
    return text if counted == (rows,) else f"{text}: expected {rows} rows"


def leaf_words(leaf: Leaf) -> str:
    """Type and shape of an output, in words."""
    if isinstance(leaf, list):
        return f"{len(leaf)} rows of different shapes"
    return f"{leaf.dtype}{list(leaf.shape)}"


def joined_path(path: str, name: object) -> str:
    """The path of a part of what is at a path."""
    return f"{path}.{name}" if path else str(name)


def at_path(path: str) -> str:
    """The end of a sentence that says where."""
    return f" at {path}" if path else ""
