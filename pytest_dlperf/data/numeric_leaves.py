"""Which leaves of a tree of inputs a numeric step of preprocessing is for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.errors import DataError, UsageError
from pytest_dlperf.ragged import Mask
from pytest_dlperf.trees import RowTree, as_tree, described, leaves

if TYPE_CHECKING:
    from pytest_dlperf.trees import Rows

_NUMBERS = "biuf"


def paths_given(given: object, what: str) -> tuple[str, ...] | None:
    """Paths of leaves, or one of them, as a user gives them; None for None."""
    __tracebackhide__ = True
    if given is None:
        return None
    paths = (given,) if isinstance(given, str) else given
    texts = tuple(paths) if isinstance(paths, Iterable) else ()
    if not texts or not all(isinstance(path, str) for path in texts):
        raise UsageError(f"{what}={given!r:.80}", "expected paths of inputs, such as ('age',)")
    return texts


def numeric_leaves(rows: Rows, paths: tuple[str, ...] | None, what: str) -> frozenset[str]:
    """The paths of the leaves that a step is for.

    Args:
        rows: the inputs.
        paths: of leaves, or of the trees that hold them. None is for one array, and for all leaves
            of floats of a tree: whole numbers of a tree may be ids.
        what: the step, for messages.

    Raises:
        DataError: if there are none, or a path is that of no leaf or of one without numbers.
    """
    __tracebackhide__ = True
    tree = isinstance(rows, RowTree)
    there = {path: leaf for path, leaf in leaves(as_tree(rows)) if not isinstance(leaf, Mask)}
    kinds = {path: np.dtype(leaf.dtype).kind for path, leaf in there.items()}
    if paths is None:
        chosen = {path for path, kind in kinds.items() if kind in ("f" if tree else _NUMBERS)}
    else:
        by_path = {
            name: [path for path in there if path == name or path.startswith(f"{name}.")]
            for name in paths
        }
        for name, found in by_path.items():
            if not found:
                raise DataError(f"{what}: no input is {name!r}\n  there are {_offered(rows)}")
        chosen = {path for found in by_path.values() for path in found}
        text = sorted(path for path in chosen if kinds[path] not in _NUMBERS)
        if text:
            raise DataError(f"{what}: {text[0]} is text\n  leave it out of leaves=")
    if not chosen:
        raise DataError(
            f"{what} is for numbers, but there are {_offered(rows)}\n"
            "  whole numbers in a tree may be ids: leaves= names those that are quantities"
        )
    return frozenset(chosen)


def _offered(rows: Rows) -> str:
    words = described(as_tree(rows))
    return words if isinstance(rows, RowTree) else f"one array, {words}"
