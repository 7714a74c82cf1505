"""Normalisation: against scikit-learn's scalers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.data.normalisation import Normalisation
from pytest_dlperf.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _split(train: NDArray[Any], test: NDArray[Any]) -> Split:
    return Split(Examples(train, np.arange(len(train))), Examples(test, np.arange(len(test))))


def _rows() -> Split:
    """Features of very different sizes, one of them constant, one nearly so, one all zero."""
    random = np.random.default_rng(0)
    rows = random.normal(3.0, [1.0, 1e-6, 1e6, 1.0, 1.0, 1.0], size=(50, 6))
    rows[:, 3] = 7.0
    rows[:40, 4] = 0.1  # its mean is not 0.1 to the last digit
    rows[:, 5] = 0.0
    return _split(rows[:40], rows[40:])


@pytest.mark.parametrize(
    ("kind", "scaler"), [("standard", StandardScaler()), ("min-max", MinMaxScaler())]
)
def test_as_scikit_learn_scales(kind: Literal["standard", "min-max"], scaler: Any) -> None:  # noqa: ANN401 - scikit-learn has no types
    """Both parts, features that are constant too, by what the training rows say alone."""
    split = _rows()
    scaler.fit(split.train.inputs)

    done = Normalisation(kind)(split)

    for part, raw in ((done.train, split.train), (done.test, split.test)):
        expected = scaler.transform(raw.inputs)
        np.testing.assert_allclose(part.inputs, expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(part.labels, raw.labels)
        assert part.inputs.dtype == np.float32


def test_images_are_scaled_place_by_place() -> None:
    """Rows of any shape: each place is a feature, and whole numbers become floats."""
    pixels = np.random.default_rng(1).integers(0, 256, size=(30, 4, 3, 2), dtype=np.uint8)
    flat = _split(pixels[:20].reshape(20, -1), pixels[20:].reshape(10, -1))

    image = Normalisation("standard")(_split(pixels[:20], pixels[20:]))
    row = Normalisation("standard")(flat)

    np.testing.assert_array_equal(image.test.inputs.reshape(10, -1), row.test.inputs)
    assert image.train.inputs.dtype == np.float32


def test_none_leaves_rows_as_they_are() -> None:
    """The very arrays, types and all."""
    split = _split(np.array([[1, 2]], np.int32), np.array([[3, 4]], np.int32))

    assert Normalisation("none")(split) is split


@pytest.mark.parametrize("part", ["training", "test"])
def test_missing_values_are_refused(part: str) -> None:
    """Cleaning comes first: the row is named."""
    clean, missing = np.ones((3, 2)), np.array([[1.0, 2.0], [3.0, np.nan], [1.0, 2.0]])
    split = _split(missing, clean) if part == "training" else _split(clean, missing)

    with pytest.raises(DataError, match=f"{part} inputs: row 1 has a value that is not finite"):
        Normalisation("min-max")(split)


def test_a_kind_that_is_none_is_refused() -> None:
    """The message names the kinds that there are."""
    with pytest.raises(UsageError, match=r"Normalisation\(kind\)='zscore'\n.*standard, min-max"):
        Normalisation("zscore")  # type: ignore[arg-type]


def test_text() -> None:
    """What tells it from other preparations."""
    assert str(Normalisation("min-max")) == "Normalisation(kind=min-max)"
    assert str(Normalisation("standard")) != str(Normalisation("none"))
