"""Datasets of TensorFlow as data."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import DataError
from pytest_dlperf.trees import RowTree

ROWS, LABELS = np.arange(30.0).reshape(10, 3), np.arange(10) % 2


@pytest.mark.tensorflow
def test_datasets_of_tensorflow() -> None:
    """Batched or not, with labels or without; an endless one is refused at once."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(({"rows": ROWS, "text": ["a"] * 10}, LABELS))
    for each in (dataset, dataset.batch(4)):
        data = as_data(each)
        assert isinstance(data.inputs, RowTree)
        np.testing.assert_array_equal(data.inputs.tree["rows"], ROWS)
        assert data.inputs.tree["text"].tolist() == [b"a"] * 10
    alone = tf.data.Dataset.from_tensor_slices(ROWS)
    for each in (alone.batch(4), alone.batch(3).prefetch(1)):
        np.testing.assert_array_equal(as_data(each).inputs, ROWS)
    with pytest.raises(DataError, match=r"it has no end\n.*dataset.take"):
        as_data(dataset.repeat())
    with pytest.raises(DataError, match="may be a row or a batch"):
        as_data(alone)
    ragged = tf.data.Dataset.from_tensor_slices((tf.ragged.constant([[1], [], [2, 3]]), [0, 1, 0]))
    for each in (ragged, ragged.batch(2)):
        with pytest.raises(DataError, match=r"are given as Ragged\(rows\)"):
            as_data(each)
