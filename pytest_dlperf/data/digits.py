"""Reference data: real handwritten digits, cleaned, split and normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.data.content import content_hash
from pytest_dlperf.data.dataset import Examples
from pytest_dlperf.data.rows import check_finite
from pytest_dlperf.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEST_SHARE: Final = 0.2
_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Schema:
    """The format of raw rows.

    Attributes:
        features: values in a row.
        low: smallest value allowed.
        high: largest value allowed.
        classes: labels are 0 to `classes - 1`.
    """

    features: int
    low: float
    high: float
    classes: int


@dataclass(frozen=True, slots=True)
class ReferenceData:
    """Training and test rows for the reference model.

    Inputs are float32 of shape `(rows, features)`, labels int64 of shape `(rows,)`.

    Attributes:
        train: each feature has mean 0 and variance 1 over these rows.
        test: normalised with the training rows' mean and variance.
        schema: of the raw rows.
        hash: of the content of both parts.
    """

    train: Examples
    test: Examples
    schema: Schema
    hash: str


DIGITS: Final = Schema(features=64, low=0.0, high=16.0, classes=10)
"""The 8 x 8 grey-scale digits that ship in scikit-learn (UCI Optical Recognition, test part)."""


def clean(inputs: object, labels: object, schema: Schema) -> Examples:
    """Check raw rows against a schema and convert them to float32, their labels to int64.

    Raises:
        DataError: naming the first bad row.
    """
    try:
        values, classes = np.asarray(inputs, np.float32), np.asarray(labels)
    except (TypeError, ValueError) as error:
        raise DataError(f"rows cannot be read as numbers: {error}") from None
    if values.ndim != 2 or values.shape[1] != schema.features:  # noqa: PLR2004 - rows x features
        raise DataError(f"inputs of shape {values.shape}; expected (rows, {schema.features})")
    if classes.shape != values.shape[:1]:
        raise DataError(f"{len(values)} rows, but labels of shape {classes.shape}")
    check_finite(values, "inputs")
    _check_range(values, schema)
    bad = np.flatnonzero(~np.isin(classes, np.arange(schema.classes)))
    if len(bad):
        row = int(bad[0])
        raise DataError(f"row {row}: label {classes[row]}; expected 0 to {schema.classes - 1}")
    return Examples(values, classes.astype(np.int64))


def _check_range(values: NDArray[Any], schema: Schema) -> None:
    outside = (values < schema.low) | (values > schema.high)
    bad = np.flatnonzero(outside.any(axis=1))
    if len(bad):
        row = int(bad[0])
        column = int(np.argmax(outside[row]))
        raise DataError(
            f"row {row}, feature {column}: {values[row, column]:g}; "
            f"expected {schema.low:g} to {schema.high:g}"
        )


def load_digits() -> ReferenceData:
    """The handwritten digits: 1,437 training and 360 test rows, classes balanced."""
    from sklearn.datasets import load_digits as raw_digits
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    raw = raw_digits()
    whole = clean(raw.data, raw.target, DIGITS)
    train, test, train_labels, test_labels = train_test_split(
        whole.inputs,
        whole.labels,
        test_size=_TEST_SHARE,
        random_state=_SEED,
        stratify=whole.labels,
    )
    scaler = StandardScaler().fit(train)
    train, test = (scaler.transform(part).astype(np.float32) for part in (train, test))
    return ReferenceData(
        train=Examples(train, train_labels),
        test=Examples(test, test_labels),
        schema=DIGITS,
        hash=content_hash(train, train_labels, test, test_labels),
    )
