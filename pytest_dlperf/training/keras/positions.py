"""Labels of many lengths, as Keras' `fit` takes them: padded arrays, and weights of positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.ragged import Mask, PaddedRows, batch_length
from pytest_dlperf.trees import as_tree, leaves, mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.trees import Rows, Tree


def fitted_labels(labels: Rows, inputs: Rows) -> tuple[Tree, Tree | None]:
    """The labels of all rows as arrays, and the weights that `fit` takes as `sample_weight`.

    `Ragged` labels are padded as the inputs of the same lengths are, or else to their longest row.
    All positions weigh the same, 1 in the mean with the padding, which weighs 0; so losses are as
    without it. One number for each position has an axis of its own, without which Keras takes the
    positions for the values of one label.

    Returns:
        Labels, and weights of shape `(rows,)` or `(rows, positions)`; None if all labels are
        arrays, which need none.
    """
    tree = as_tree(labels)
    if not any(isinstance(leaf, PaddedRows) for _, leaf in leaves(tree)):
        return labels[:], None
    lengths = [
        (leaf.ends, batch_length(leaf.ends, leaf.sizes))
        for _, leaf in leaves(as_tree(inputs))
        if isinstance(leaf, PaddedRows)
    ]

    def width(leaf: PaddedRows) -> int:
        alike = (length for ends, length in lengths if np.array_equal(ends, leaf.ends))
        return next(alike, batch_length(leaf.ends, leaf.sizes))

    def padded(leaf: NDArray[Any] | PaddedRows) -> NDArray[Any]:
        return _padded(leaf, width(leaf)) if isinstance(leaf, PaddedRows) else leaf[:]

    def weights(leaf: NDArray[Any] | PaddedRows) -> NDArray[np.float32]:
        if isinstance(leaf, PaddedRows):
            present = _present(leaf, width(leaf))
            each = present.size / max(1, int(present.sum()))
            return np.where(present, np.float32(each), np.float32(0))
        return np.ones(len(leaf), np.float32)

    return mapped(padded, tree), mapped(weights, tree)


def _present(leaf: PaddedRows, width: int) -> NDArray[np.bool_]:
    mask: NDArray[np.int32] = Mask(leaf.ends, (width,))[:]
    return mask.astype(np.bool_)


def _padded(leaf: PaddedRows, width: int) -> NDArray[Any]:
    """Zeros behind the ends: a weight of 0 does not undo the loss of a class that is not there."""
    labels = np.zeros((len(leaf), width, *leaf.values.shape[2:]), leaf.dtype)
    present = _present(leaf, width)
    kept = min(width, leaf.values.shape[1])
    labels[present] = leaf.values[:, :kept][present[:, :kept]]
    one_number = leaf.values.ndim == present.ndim
    return labels[..., np.newaxis] if one_number else labels
