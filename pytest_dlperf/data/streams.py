"""Data that comes piece by piece: `tf.data.Dataset`, torch `DataLoader`, generators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeGuard

import numpy as np

from pytest_dlperf.errors import DataError, kind_of
from pytest_dlperf.load.outputs import read_outputs
from pytest_dlperf.trees import leaves, mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.trees import Tree

MOST_BYTES: Final = 2 << 30
"""Bytes at which reading ends with an error: rows are kept in memory."""

_PAIR: Final = 2
_TOLD_EVERY: Final = 1000
_Form: TypeAlias = Literal["batches", "rows"]


def is_stream(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether this is an iterable of pieces, and no array, pair, dict or text."""
    if isinstance(value, Mapping | Sequence | np.ndarray | str | bytes):
        return False
    if hasattr(value, "shape") or hasattr(value, "to_numpy"):
        return False
    return isinstance(value, Iterable) or (
        hasattr(value, "__getitem__") and hasattr(value, "__len__")
    )


def read_stream(
    stream: Iterable[Any], on_rows: Callable[[int], None] = lambda _: None
) -> tuple[Any, Any]:
    """Read all of a stream; returns inputs and labels, which are None if it has none.

    Pieces are `(inputs, labels)`, or inputs alone; each is a batch, or a row.

    Args:
        stream: is read once.
        on_rows: is told how many rows there are so far.

    Raises:
        DataError: if it is empty, endless or too large, or its pieces do not fit together.
    """
    name = type(stream).__name__
    _refuse_endless(stream, name)
    kept: list[tuple[Tree, Tree | None]] = []
    size = rows = 0
    form = _known_form(stream)
    for number, piece in enumerate(_pieces(stream, name)):
        inputs, labels = _split(piece, name, number)
        form = form or _form_of(inputs, labels, f"{name}: piece {number}")
        if form == "rows":
            inputs, labels = _as_batch(inputs), None if labels is None else _as_batch(labels)
        kept.append((inputs, labels))
        first = next(leaf for _, leaf in leaves(inputs))
        rows += len(first)
        size += sum(array.nbytes for array in _arrays_of(inputs, labels))
        if size > MOST_BYTES:
            raise DataError(
                f"{name}: more than {MOST_BYTES / 1e9:.1f} GB in {rows:,} rows\n"
                "  rows are kept in memory: give fewer, such as dataset.take(1000)"
            )
        if not number % _TOLD_EVERY:
            on_rows(rows)
    if not kept:
        raise DataError(
            f"{name}: there is nothing in it\n  a generator can be read once only: make a list or "
            "an array of it where several measurements need it"
        )
    labelled = [labels for _, labels in kept if labels is not None]
    inputs = _joined([inputs for inputs, _ in kept], name, "inputs")
    return inputs, _joined(labelled, name, "labels") if labelled else None


def _refuse_endless(stream: Iterable[Any], name: str) -> None:
    cardinality = getattr(stream, "cardinality", None)
    if callable(cardinality) and int(cardinality()) == -1:  # tf.data.INFINITE_CARDINALITY
        raise DataError(f"{name}: it has no end\n  give a part of it: dataset.take(1000)")


def _pieces(stream: Any, name: str) -> Iterator[Any]:  # noqa: ANN401 - anything to iterate over
    indexed = not isinstance(stream, Iterable)
    iterator = (stream[number] for number in range(len(stream))) if indexed else iter(stream)
    try:
        yield from iterator
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name} raised {kind_of(error)}: {error}") from error


def _split(piece: Any, name: str, number: int) -> tuple[Any, Any]:  # noqa: ANN401 - trees
    if isinstance(piece, tuple | list):
        if len(piece) != _PAIR:
            raise DataError(
                f"{name}: piece {number} has {len(piece)} parts\n"
                "  expected (inputs, labels): leave weights and the like out"
            )
        inputs, labels = piece
        return _read(inputs), None if labels is None else _read(labels)
    return _read(piece), None


def _read(part: object) -> Any:  # noqa: ANN401 - a tree
    """A part as a tree of arrays."""
    if isinstance(part, Mapping):
        return {name: _read(inner) for name, inner in part.items()}
    # A DataLoader makes lists of tuples.
    if isinstance(part, tuple | list) and part and all(hasattr(one, "shape") for one in part):
        return tuple(map(_read, part))
    try:
        array = np.asarray(read_outputs(part))
    except ValueError as error:  # rows of different lengths
        raise DataError(
            f"a part of type {type(part).__name__} is no array: {error}\n"
            "  rows of many lengths are given as Ragged(rows)"
        ) from None
    if array.ndim == 0 and array.dtype.kind == "O" and not isinstance(array.item(), str | bytes):
        raise DataError(
            f"a part of type {type(part).__name__} is no array\n  rows of many lengths are given "
            "as Ragged(rows)"
        )
    return array


def _known_form(stream: Any) -> _Form | None:  # noqa: ANN401 - of any framework
    """Whether a stream says itself that it has batches, or rows; None if it does not."""
    if "batch_size" in dir(stream):  # a DataLoader of PyTorch
        return "rows" if stream.batch_size is None else "batches"
    if not isinstance(stream, Iterable) and any(
        each.__module__.startswith("torch.utils.data") for each in type(stream).__mro__
    ):  # a Dataset of PyTorch, from which a DataLoader makes batches
        return "rows"
    spec = getattr(stream, "element_spec", None)
    tree: Any = spec if isinstance(spec, tuple | list | Mapping) else [spec]
    shapes = [getattr(leaf, "shape", None) for _, leaf in leaves(tree)]
    known = [shape for shape in shapes if shape is not None and shape.rank is not None]
    if any(not shape.rank for shape in known):  # a label of one row, beside rows of any length
        return "rows"
    return "batches" if known and known[0][0] is None else None


def _form_of(inputs: Tree, labels: Tree | None, where: str) -> _Form:
    """Whether a piece is a batch or a row, as its shapes tell."""
    arrays = _arrays_of(inputs, labels)
    if any(not array.ndim for array in arrays) or len({len(array) for array in arrays}) > 1:
        return "rows"
    # Rows may have equal first axes, too: an image and its mask, or a row that is its own label.
    given = [leaf.shape for _, leaf in leaves(inputs)]
    asked = [] if labels is None else [leaf.shape for _, leaf in leaves(labels)]
    alike = any(label == shape[: len(label)] for label in asked for shape in given)
    vectors = all(len(label) == 1 for label in asked)
    if asked and any(array.ndim > 1 for array in arrays) and (vectors or not alike):
        return "batches"
    raise DataError(
        f"{where} may be a row or a batch of {len(arrays[0])}\n"
        "  put the rows into one array: np.stack(...) of rows, np.concatenate(...) of batches"
    )


def _arrays_of(inputs: Tree, labels: Tree | None) -> list[NDArray[Any]]:
    trees = (inputs,) if labels is None else (inputs, labels)
    return [leaf for tree in trees for _, leaf in leaves(tree)]


def _as_batch(row: Tree) -> Tree:
    batch: Tree = mapped(lambda leaf: leaf[np.newaxis], row)
    return batch


def _joined(trees: Sequence[Tree], name: str, what: str) -> Tree:
    """The rows of all batches in one tree."""
    columns: list[list[NDArray[Any]]] = []
    paths = [path for path, _ in leaves(trees[0])]
    for number, tree in enumerate(trees):
        named = dict(leaves(tree))
        if set(named) != set(paths):
            raise DataError(f"{name}: piece {number} has other {what} than the first")
        columns.append([named[path] for path in paths])
    joined = []
    for path, column in zip(paths, zip(*columns, strict=True), strict=True):
        if len({array.shape[1:] for array in column}) > 1:
            raise DataError(
                f"{name}: {what}{f'.{path}' if path else ''} differ in shape from piece to piece\n"
                "  rows of many lengths are given as Ragged(rows)"
            )
        joined.append(np.concatenate(column))
    rest = iter(joined)
    whole: Tree = mapped(lambda _: next(rest), trees[0])
    return whole
