"""Trees of arrays: dicts, lists and tuples whose leaves all have one row for each request.

An array is the simplest tree. Rows of anything else are a `RowTree`, which is sliced and indexed
like an array; so what asks for rows need not know which of the two it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

Tree: TypeAlias = "NDArray[Any] | Mapping[str, Tree] | list[Tree] | tuple[Tree, ...]"
"""What a target takes and returns: arrays with one leading batch axis."""


@dataclass(frozen=True, slots=True, eq=False)
class RowTree:
    """Rows whose parts are the leaves of a tree.

    Attributes:
        tree: a dict, list or tuple of leaves, or of trees, or a leaf. Each has `rows` rows, and is
            an array, or rows of many lengths, of which a slice is a padded array.
        rows: their number.
    """

    tree: Tree
    rows: int

    def __len__(self) -> int:
        """Number of rows."""
        return self.rows

    def __getitem__(self, rows: slice) -> Tree:
        """A batch of consecutive rows, as a target takes it; arrays are views."""
        batch: Tree = mapped(lambda leaf: leaf[rows], self.tree)
        return batch

    def taken(self, index: NDArray[np.intp] | NDArray[np.int64] | NDArray[np.bool_]) -> RowTree:
        """Copies of some rows."""
        tree = mapped(lambda leaf: leaf[index], self.tree)
        return RowTree(tree, rows_of(tree))


Rows: TypeAlias = NDArray[Any] | RowTree
"""Rows of inputs or labels."""


@overload
def taken(rows: NDArray[Any], index: NDArray[Any]) -> NDArray[Any]: ...
@overload
def taken(rows: Rows, index: NDArray[Any]) -> Rows: ...
def taken(rows: Rows, index: NDArray[Any]) -> Rows:
    """Copies of some rows, by their numbers or by a mask."""
    return rows.taken(index) if isinstance(rows, RowTree) else rows[index]


def first_rows(rows: Rows, count: int) -> Rows:
    """The first rows, read-only."""
    if isinstance(rows, RowTree):
        return read_only(rows.taken(np.arange(count)))
    return rows[:count]


def as_tree(rows: Rows) -> Tree:
    """The leaves and what holds them."""
    return rows.tree if isinstance(rows, RowTree) else rows


def mapped(function: Callable[[NDArray[Any]], Any], tree: Tree) -> Any:  # noqa: ANN401 - a tree
    """The tree with each leaf replaced by what a function makes of it."""
    if isinstance(tree, Mapping):
        return {name: mapped(function, part) for name, part in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [mapped(function, part) for part in tree]
        return parts if isinstance(tree, list) else _like(tree, parts)
    return function(tree)


def _like(tree: tuple[Tree, ...], parts: list[Any]) -> tuple[Any, ...]:
    """A tuple of the same class, which a named tuple's class makes of separate arguments."""
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Each leaf with its path, such as `boxes` or `heads.0`; the path of an array is empty."""
    if isinstance(tree, Mapping):
        for name, part in tree.items():
            yield from leaves(part, f"{path}.{name}" if path else str(name))
    elif isinstance(tree, list | tuple):
        names = getattr(tree, "_fields", range(len(tree)))
        for name, part in zip(names, tree, strict=True):
            yield from leaves(part, f"{path}.{name}" if path else str(name))
    else:
        yield path, tree


def with_leaves(rows: Rows, new: Iterable[Any]) -> Rows:
    """Rows whose leaves are replaced by others, which stand in the order of `leaves`."""
    parts = iter(new)
    tree: Tree = mapped(lambda _: next(parts), as_tree(rows))
    return RowTree(tree, rows_of(tree)) if isinstance(rows, RowTree) else tree  # type: ignore[return-value]  # an array's is one


def rows_of(tree: Tree) -> int:
    """The number of rows of a batch: of its first leaf; 0 without leaves."""
    return next((len(leaf) for _, leaf in leaves(tree)), 0)


def read_only(rows: Rows) -> Rows:
    """The same rows, whose arrays can no longer be written to."""
    for _, leaf in leaves(as_tree(rows)):
        if isinstance(leaf, np.ndarray):  # rows of many lengths make read-only batches
            leaf.flags.writeable = False
    return rows


def contents(leaf: Any) -> tuple[NDArray[Any], ...]:  # noqa: ANN401 - an array, or several
    """The arrays that a leaf consists of."""
    return (leaf,) if isinstance(leaf, np.ndarray) else leaf.contents


def described(tree: Tree) -> str:
    """Shapes and types in words, such as `float32 (64, 784)` or `user: int64 (64,), item: ...`."""
    return ", ".join(
        f"{path}: {_words(leaf)}" if path else _words(leaf) for path, leaf in leaves(tree)
    )


def _words(leaf: NDArray[Any]) -> str:
    kind = "text" if leaf.dtype.kind in "OUS" else str(leaf.dtype)
    return f"{kind} {leaf.shape}"
