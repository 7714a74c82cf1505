"""Normalisation: against scikit-learn's scalers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.data.normalisation import Normalisation
from pytest_dlperf.errors import DataError, UsageError
from pytest_dlperf.ragged import Ragged
from pytest_dlperf.trees import as_tree

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


def _trees() -> Split:
    random = np.random.default_rng(2)
    floats = random.normal(5.0, 3.0, (30, 3))
    pixels, ids = random.integers(0, 256, (30, 4)), random.integers(0, 9, 30)
    steps = [random.normal(9.0, 4.0, (length, 2)) for length in random.integers(1, 6, 30)]

    def examples(rows: slice) -> Examples:
        inputs = {
            "numbers": {"floats": floats[rows], "pixels": pixels[rows]},
            "id": ids[rows],
            "name": ["x"] * len(ids[rows]),
            "steps": Ragged(steps[rows], pad=-7, mask="mask"),
        }
        return Examples(inputs, {"a": ids[rows], "b": floats[rows, 0]})

    return Split(examples(slice(20)), examples(slice(20, 30)))


def _tree(examples: Examples) -> Any:  # noqa: ANN401 - a tree
    return as_tree(examples.inputs)


def test_each_leaf_of_floats_is_scaled_by_itself() -> None:
    """By the training rows; ids, text, masks and labels stay, and so does padding."""
    split = _trees()

    done = Normalisation("standard")(split)

    scaler = StandardScaler().fit(_tree(split.train)["numbers"]["floats"])
    steps = _tree(split.train)["steps"]
    of_steps = StandardScaler().fit(
        np.concatenate([row[:end] for row, end in zip(steps.values, steps.ends, strict=True)])
    )
    for part, raw in ((done.train, split.train), (done.test, split.test)):
        new, old = _tree(part), _tree(raw)
        expected = scaler.transform(old["numbers"]["floats"])
        np.testing.assert_allclose(new["numbers"]["floats"], expected, rtol=1e-6, atol=1e-6)
        for row, before, end in zip(
            new["steps"].values, old["steps"].values, old["steps"].ends, strict=True
        ):
            np.testing.assert_allclose(row[:end], of_steps.transform(before[:end]), rtol=1e-5)
            assert (row[end:] == -7).all()
        assert new["steps"].values.dtype == np.float32
        for name in ("id", "name"):
            assert new[name] is old[name]
        assert new["numbers"]["pixels"] is old["numbers"]["pixels"]
        assert part.labels is raw.labels


def test_leaves_are_chosen_by_path() -> None:
    """Of a tree, or the tree that holds them; whole numbers too, if they are named."""
    split = _trees()
    pixels = StandardScaler().fit(_tree(split.train)["numbers"]["pixels"])

    only = Normalisation(leaves="numbers.pixels")(split)
    both = Normalisation(leaves=("numbers",))(split)

    for done in (only, both):
        new = _tree(done.test)["numbers"]["pixels"]
        expected = pixels.transform(_tree(split.test)["numbers"]["pixels"])
        np.testing.assert_allclose(new, expected, rtol=1e-5, atol=1e-6)
        assert _tree(done.test)["steps"] is _tree(split.test)["steps"]
    assert _tree(only.test)["numbers"]["floats"] is _tree(split.test)["numbers"]["floats"]
    assert _tree(both.test)["numbers"]["floats"].dtype == np.float32
    assert str(Normalisation(leaves=("numbers",))) != str(Normalisation())


@pytest.mark.parametrize(
    ("inputs", "leaves", "said"),
    [
        ({"id": [1, 2], "x": ["a", "b"]}, None, r"may be ids: leaves= names"),
        (["a", "b"], None, r"is for numbers, but there are one array, text"),
        ({"id": [1, 2]}, "age", r"no input is 'age'\n  there are id: int64 \(2,\)"),
        ({"x": ["a", "b"]}, "x", r"x is text"),
        ({"age": [1.0, np.nan]}, None, r"training inputs.age: row 1 has a value that is not"),
    ],
)
def test_inputs_that_cannot_be_scaled_are_refused(
    inputs: object, leaves: str | None, said: str
) -> None:
    """The leaf is named, and what to do."""
    examples = Examples(inputs, [0, 1])  # type: ignore[arg-type]  # as users give them

    with pytest.raises(DataError, match=said):
        Normalisation(leaves=leaves)(Split(examples, examples))  # type: ignore[arg-type]  # one path
