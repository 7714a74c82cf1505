"""The reference data: real digits, cleaned with errors that name the row, and normalised."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_dlperf.data.digits import DIGITS, clean, load_digits
from pytest_dlperf.errors import DataError

GOOD = np.zeros((5, 64))
LABELS = np.arange(5)


def test_the_split_is_fixed_and_balanced() -> None:
    """1,437 rows to learn from and 360 held back, each digit in proportion, none in both."""
    data = load_digits()

    assert (len(data.train.inputs), len(data.test.inputs)) == (1437, 360)
    shares = np.bincount(data.test.labels) / np.bincount(data.train.labels)
    assert np.all(np.abs(shares / 0.25 - 1) < 0.05)
    assert data.hash == load_digits().hash
    train_rows = {row.tobytes() for row in data.train.inputs}
    assert sum(row.tobytes() in train_rows for row in data.test.inputs) == 0


def test_normalisation_is_learnt_from_the_training_rows() -> None:
    """Each feature has mean 0 and variance 1 over the training rows, or never varies."""
    data = load_digits()

    varies = data.train.inputs.std(axis=0) > 0
    np.testing.assert_allclose(data.train.inputs.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(data.train.inputs.std(axis=0)[varies], 1, atol=1e-5)
    assert abs(data.test.inputs.mean()) > 1e-4  # not normalised with its own mean
    assert data.test.inputs.dtype == np.float32


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (3, 7, np.nan, "row 3 has a value that is not finite"),
        (2, 0, 17, r"row 2, feature 0: 17; expected 0 to 16"),
        (4, 63, -1, r"row 4, feature 63: -1; expected 0 to 16"),
    ],
)
def test_bad_values_name_their_row(row: int, column: int, value: float, message: str) -> None:
    """Values that are not finite or out of range are refused with their place."""
    rows = GOOD.copy()
    rows[row, column] = value

    with pytest.raises(DataError, match=message):
        clean(rows, LABELS, DIGITS)


@pytest.mark.parametrize("label", [-1, 10, 2.5])
def test_bad_labels_name_their_row(label: float) -> None:
    """A label outside the classes is refused with its row."""
    labels = LABELS.astype(float)
    labels[1] = label

    with pytest.raises(DataError, match="row 1: label"):
        clean(GOOD, labels, DIGITS)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.zeros((5, 63)), LABELS, r"inputs of shape \(5, 63\); expected \(rows, 64\)"),
        (np.zeros((5, 8, 8)), LABELS, "expected"),
        (GOOD, LABELS[:4], "5 rows, but labels of shape"),
        ([["a"]], LABELS, "cannot be read as numbers"),
    ],
)
def test_bad_shapes_are_refused(inputs: object, labels: object, message: str) -> None:
    """Rows of another shape or type are no digits."""
    with pytest.raises(DataError, match=message):
        clean(inputs, labels, DIGITS)


def test_clean_rows_get_their_types() -> None:
    """Float32 inputs and int64 labels, whatever they came as."""
    part = clean(GOOD.tolist(), LABELS.astype(np.uint8), DIGITS)

    assert (part.inputs.dtype, part.labels.dtype) == (np.float32, np.int64)
