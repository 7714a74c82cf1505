"""Calls with rows of many lengths, split into groups that are padded to lengths of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.answer_tree import has_rows
from pytest_dlperf.load.outputs import read_outputs
from pytest_dlperf.ragged import Mask, PaddedRows
from pytest_dlperf.trees import as_tree, leaves, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.targets.padding import Infer
    from pytest_dlperf.trees import Rows, Tree


@dataclass(frozen=True, slots=True)
class LengthGroups:
    """What a batch is grouped by.

    Attributes:
        mask: path of the mask that tells the lengths of its rows.
        ragged: paths of the inputs that have these lengths, the mask among them.
        sizes: lengths to which groups are padded, ascending.
    """

    mask: str
    ragged: frozenset[str]
    sizes: tuple[int, ...]


def length_groups(sample: Rows) -> LengthGroups:
    """What batches of such rows are grouped by; a UsageError if they cannot be."""
    named = dict(leaves(as_tree(sample)))
    masks = {path: leaf for path, leaf in named.items() if isinstance(leaf, Mask)}
    ragged = [leaf for leaf in named.values() if isinstance(leaf, PaddedRows)]
    first = next(iter(masks.values()), None)
    if first is None or not first.sizes:
        raise UsageError(
            "Serving(group_by_length=True) needs rows of many lengths with a mask",
            "give them as {'ids': Ragged(rows, lengths=(16, 32), mask='mask')}",
        )
    if any(leaf.sizes != first.sizes or (leaf.ends != first.ends).any() for leaf in ragged):
        raise UsageError(
            "Serving(group_by_length=True): there are inputs of different lengths",
            "only inputs whose rows have the same lengths can be grouped",
        )
    paths = (path for path, leaf in named.items() if isinstance(leaf, Mask | PaddedRows))
    return LengthGroups(next(iter(masks)), frozenset(paths), first.sizes)


def grouped(infer: Infer, groups: LengthGroups) -> Infer:
    """A call that answers each group of rows by itself, and puts the answers in order."""
    sizes = np.array(groups.sizes)

    def infer_grouped(batch: Tree) -> object:
        named = dict(leaves(batch))
        size_of_row = sizes[np.searchsorted(sizes, named[groups.mask].sum(axis=1))]
        found = np.unique(size_of_row)
        if len(found) == 1:
            return infer(batch)
        rows = [np.flatnonzero(size_of_row == size) for size in found]
        answers = [
            read_outputs(infer(_part(batch, named, groups.ragged, index, int(size))))
            for size, index in zip(found, rows, strict=True)
        ]
        return _merged(answers, [len(index) for index in rows], np.argsort(np.concatenate(rows)))

    return infer_grouped


def _part(
    batch: Tree,
    named: Mapping[str, NDArray[Any]],
    ragged: frozenset[str],
    index: NDArray[np.intp],
    size: int,
) -> Tree:
    """Some rows of a batch, cut to a length."""
    parts = (leaf[index, :size] if path in ragged else leaf[index] for path, leaf in named.items())
    part: Tree = mapped(lambda _: _read_only(next(parts)), batch)
    return part


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False  # as other batches are: a target must not write into it
    return array


def _merged(answers: Sequence[Any], sizes: Sequence[int], order: NDArray[np.intp]) -> object:
    """The outputs of all groups of these sizes, their rows in the order of the batch."""
    first = answers[0]
    if isinstance(first, Mapping):
        return {name: _merged([each[name] for each in answers], sizes, order) for name in first}
    if isinstance(first, list | tuple):
        if _are_rows(answers, sizes):
            rows = [row for answer in answers for row in answer]
            return [rows[number] for number in order]
        parts = [_merged(part, sizes, order) for part in zip(*answers, strict=True)]
        return parts if isinstance(first, list) else tuple(parts)
    arrays = [np.asarray(answer) for answer in answers]
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1 and len({shape[1:] for shape in shapes}) == 1:
        # Outputs with a length, such as one for each token, are padded to the longest group's.
        longest = max(shape[0] for shape in shapes)
        arrays = [
            np.pad(array, [(0, 0), (0, longest - array.shape[1])] + [(0, 0)] * (array.ndim - 2))
            for array in arrays
        ]
    return np.concatenate(arrays)[order]


def _are_rows(answers: Sequence[Any], sizes: Sequence[int]) -> bool:
    """Whether lists have an item for each row of their group, and not one for each output."""
    pairs = list(zip(answers, sizes, strict=True))
    return all(len(answer) == size for answer, size in pairs) and not all(
        has_rows(part, size) for answer, size in pairs for part in answer
    )
