"""Examples and splits: checked when they are built."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.errors import DataError


def test_lists_become_arrays_and_missing_values_may_be_there() -> None:
    """What people write by hand is read as numpy reads it; cleaning comes later."""
    examples = Examples([[1.0, np.nan], [3.0, 4.0]], [0, 1])  # type: ignore[arg-type]  # what users do

    np.testing.assert_array_equal(examples.inputs, [[1.0, np.nan], [3.0, 4.0]])
    np.testing.assert_array_equal(examples.labels, [0, 1])


@pytest.mark.parametrize(
    ("inputs", "labels", "said"),
    [
        (np.zeros((3, 2)), np.zeros(2), "3 rows of inputs, but 2 labels"),
        (np.array([["a"]]), np.zeros(1), "Examples(inputs) are of type <U1; expected numbers"),
        (np.zeros((1, 2)), np.array([None]), "Examples(labels) are of type object"),
        (np.zeros((0, 2)), np.zeros(0), "Examples(inputs) of shape (0, 2) have no rows"),
    ],
)
def test_what_cannot_be_used_is_refused(inputs: np.ndarray, labels: np.ndarray, said: str) -> None:
    """Rows without labels, no numbers or no rows: the message says which of the two it is."""
    with pytest.raises(DataError) as refused:
        Examples(inputs, labels)

    assert said in str(refused.value)


def test_the_parts_of_a_split_have_rows_of_one_shape() -> None:
    """A model that learns from rows of one shape cannot be asked others."""
    with pytest.raises(DataError, match=r"training rows of shape \(2,\), but test rows of \(3,\)"):
        Split(Examples(np.zeros((4, 2)), np.zeros(4)), Examples(np.zeros((4, 3)), np.zeros(4)))
