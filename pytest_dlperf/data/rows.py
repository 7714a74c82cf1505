"""Reads a user's inputs or labels: an array, or a tree of arrays, of numbers or of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import DataError
from pytest_dlperf.ragged import Mask, Ragged, padded_rows
from pytest_dlperf.trees import RowTree, as_tree, contents, described, leaves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.trees import Rows, Tree

_NUMBERS: Final = "biuf"
_TEXT: Final = "US"
_STRINGS: Final = "T"  # numpy's StringDType


def read_rows(value: object, what: str, expected: int | None = None, *, text: bool = True) -> Rows:
    """Read an array, or a dict, list or tuple of arrays with one length.

    A list of arrays is a tree if `expected` rows are those of its arrays, and one array if it has
    so many items.

    Args:
        value: as the user gave it.
        what: in words, for messages.
        expected: number of rows, where other data says so.
        text: whether it may be text, as well as numbers.

    Raises:
        DataError: if it is neither, or both.
    """
    if isinstance(value, RowTree):
        return value
    tree: Tree = _tree(value, what, expected, text=text)
    if isinstance(tree, np.ndarray):
        return tree
    lengths = {path: len(leaf) for path, leaf in leaves(tree)}
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{path} has {length}" for path, length in lengths.items())
        raise DataError(f"{what}: all parts need the same number of rows, but {each}")
    return RowTree(tree, next(iter(lengths.values())))


def _tree(value: object, what: str, expected: int | None, *, text: bool) -> Any:  # noqa: ANN401
    if _is_frame(value):
        value = _columns(value, what)
    if isinstance(value, Mapping):
        _check_names(value, what)
        return _named({str(name): part for name, part in value.items()}, what, expected, text=text)
    if isinstance(value, Ragged):
        if value.mask is not None:
            raise DataError(
                f"{what}: Ragged(mask={value.mask!r}) names an input beside the rows\n"
                "  give the rows by name, too: {'ids': Ragged(..., mask='mask')}"
            )
        return padded_rows(value, what)
    if isinstance(value, tuple) and _has_arrays(value):
        parts = [_tree(part, f"{what}.{n}", expected, text=text) for n, part in enumerate(value)]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list) and _has_arrays(value) and _is_tree(value, what, expected):
        return [_tree(part, f"{what}.{n}", expected, text=text) for n, part in enumerate(value)]
    return as_rows(value, what, text=text)


def _named(
    parts: dict[str, object], what: str, expected: int | None, *, text: bool
) -> dict[str, Any]:
    """The parts of a dict, and the masks of those that have one."""
    if not parts:
        raise DataError(f"{what}: an empty dict has no rows")
    tree: dict[str, Any] = {}
    for name, part in parts.items():
        if not isinstance(part, Ragged) or part.mask is None:
            tree[name] = _tree(part, f"{what}.{name}", expected, text=text)
            continue
        if part.mask in parts or part.mask in tree:
            raise DataError(
                f"{what}: {part.mask!r} is an input already, and Ragged(mask=) of {name!r}\n"
                "  give the mask another name"
            )
        padded = padded_rows(part, f"{what}.{name}")
        tree[name], tree[part.mask] = padded, Mask(padded.ends, padded.sizes)
    return tree


def _has_arrays(parts: Sequence[object]) -> bool:
    """Whether all items have rows of their own, as numbers and lists of numbers do not."""
    return bool(parts) and all(
        isinstance(part, Mapping | Ragged) or len(getattr(part, "shape", ())) > 0 for part in parts
    )


def _is_tree(parts: list[Any], what: str, expected: int | None) -> bool:
    """Whether a list of arrays is a tree, and not one array of rows."""
    if any(isinstance(part, Mapping | Ragged) for part in parts):
        return True
    shapes = [tuple(part.shape) for part in parts]
    lengths = {shape[0] for shape in shapes}
    tree = len(lengths) == 1 and expected in {None, *lengths}
    rows = len(set(shapes)) == 1 and expected in {None, len(parts)}
    if tree and rows:
        (length,) = lengths
        raise DataError(
            f"{what}: a list of {len(parts)} arrays of shape {shapes[0]} can be read as "
            f"{len(parts)} rows, or as {len(parts)} inputs with {length} rows each\n"
            "  np.stack(...) makes rows of it; a tuple or a dict of the arrays makes inputs"
        )
    return tree


def _is_frame(value: object) -> bool:
    """Whether this is a table of pandas, or the like."""
    return all(hasattr(value, name) for name in ("columns", "dtypes", "to_numpy"))


def _check_names(names: Iterable[object], what: str) -> None:
    """Raise a DataError if two inputs have one name, as 1 and "1" do."""
    for name, count in Counter(map(str, names)).items():
        if count > 1:
            raise DataError(
                f"{what}: {count} of them are called {name!r}\n  give each its own name"
            )


def _columns(frame: Any, what: str) -> object:  # noqa: ANN401 - pandas is not imported
    """A table as one array if its columns are of one type of numbers, else by column."""
    _check_names(frame.columns, what)
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    kinds = {column.dtype for column in columns.values()}
    one = len(kinds) == 1 and next(iter(kinds)).kind in _NUMBERS
    return frame.to_numpy() if one else columns


def as_rows(value: object, what: str, *, text: bool = False) -> NDArray[Any]:
    """Read numbers with one leading axis of rows; values may be missing (not a number).

    Args:
        value: as the user gave it.
        what: in words, for messages.
        text: whether str and bytes are allowed too; they come as an array of objects.

    Raises:
        DataError: naming `what`, if it is no array of these, or has no rows.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        hint = "\n  Ragged(rows) stands for rows of many lengths" * ("inhomogeneous" in str(error))
        raise DataError(f"{what} cannot be read as one array: {error}{hint}") from None
    if text and array.dtype.kind in {*_TEXT, _STRINGS, "O"} and array.ndim and len(array):
        # As given, since numpy makes bytes of str that stand beside bytes.
        return _texts(np.asarray(value, object), what)
    if array.dtype.kind not in _NUMBERS:
        expected = "numbers or text" if text else "numbers"
        raise DataError(f"{what} are of type {array.dtype}; expected {expected}")
    if array.ndim == 0 or not len(array):
        raise DataError(f"{what} of shape {array.shape} have no rows")
    return array


def _texts(array: NDArray[Any], what: str) -> NDArray[Any]:
    texts = array.copy()
    for kind in (str, bytes):
        if all(isinstance(text, kind) for text in texts.reshape(-1)):
            return texts
    row, other = next(
        (row, text)
        for row, some in enumerate(texts.reshape(len(texts), -1))
        for text in some
        if not isinstance(text, type(texts.reshape(-1)[0])) or not isinstance(text, str | bytes)
    )
    raise DataError(
        f"{what}: row {row} has {other!r:.80}, of type {type(other).__name__}\n"
        "  expected numbers of one type, or text: all str or all bytes"
    )


def one_array(rows: Rows, what: str, part: str = "inputs") -> NDArray[Any]:
    """Rows of a part that are one array; a DataError that names `what` if they are a tree."""
    __tracebackhide__ = True
    if isinstance(rows, RowTree):
        raise DataError(
            f"{what} takes one array of {part}, not a tree ({described(rows.tree)})\n"
            "  do it to the arrays before they are put together"
        )
    return rows


def row_shapes(rows: Rows) -> object:
    """The shape of a row; of a tree by path."""
    if isinstance(rows, RowTree):
        return {path: leaf.shape[1:] for path, leaf in leaves(rows.tree)}
    return rows.shape[1:]


def check_finite(rows: Rows, what: str, hint: str = "") -> None:
    """Raise a DataError that names the first row with a value that is not finite, with a hint."""
    for path, leaf in leaves(as_tree(rows)):
        values = contents(leaf)[0]
        if values.dtype.kind != "f":
            continue
        bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
        if len(bad):
            name = f"{what}.{path}" if path else what
            more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
            next_step = f"\n  {hint}" if hint else ""
            raise DataError(
                f"{name}: row {int(bad[0])} has a value that is not finite{more}{next_step}"
            )
