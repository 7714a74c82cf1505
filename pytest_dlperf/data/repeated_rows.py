"""Rows with the same values, whatever the types of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pytest_dlperf.ragged import Mask, PaddedRows
from pytest_dlperf.trees import as_tree, leaves

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from pytest_dlperf.trees import Rows


Key: TypeAlias = "tuple[Hashable, ...]"


def keys_of(*parts: Rows) -> tuple[list[Key], ...]:
    """A key for each row of each part; parts have the same leaves, equal rows equal keys.

    Numbers are compared as those of the type that all parts can have. Zero has no sign, and values
    that are missing are alike. Rows of many lengths are compared without their padding.
    """
    columns: list[list[Iterator[Hashable]]] = [[] for _ in parts]
    for same in zip(*(leaves(as_tree(part)) for part in parts), strict=True):
        arrays = [leaf for _, leaf in same]
        if isinstance(arrays[0], Mask):
            continue  # as long as the rows that it belongs to
        dtype = np.result_type(*(array.dtype for array in arrays))
        for column, array in zip(columns, arrays, strict=True):
            column.append(_leaf_keys(array, dtype))
    return tuple(list(zip(*column, strict=True)) for column in columns)


def _leaf_keys(leaf: Any, dtype: DTypeLike) -> Iterator[Hashable]:  # noqa: ANN401 - a leaf
    if isinstance(leaf, PaddedRows):
        values = _comparable(leaf.values, dtype)
        return (row[:end].tobytes() for row, end in zip(values, leaf.ends, strict=True))
    if leaf.dtype.hasobject:
        return (tuple(texts) for texts in leaf.reshape(len(leaf), -1))
    return (row.tobytes() for row in _comparable(leaf, dtype))


def _comparable(values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """A copy in which equal values have equal bytes: zeros have two signs, NaNs many payloads."""
    values = values.astype(dtype)
    if values.dtype.kind == "f":
        values[values == 0] = 0.0
        values[np.isnan(values)] = np.nan
    return values


def repeated(inputs: Sequence[Key], labels: Sequence[Key]) -> tuple[NDArray[np.bool_], int]:
    """Which rows repeat an earlier one with its label; how many have another label than it."""
    first: dict[Key, Key] = {}
    known: set[tuple[Key, Key]] = set()
    repeats = np.zeros(len(inputs), dtype=np.bool_)
    contradictions = 0
    for number, pair in enumerate(zip(inputs, labels, strict=True)):
        repeats[number] = pair in known
        contradictions += first.setdefault(*pair) != pair[1]
        known.add(pair)
    return repeats, contradictions
