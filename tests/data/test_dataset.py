"""Data, examples and splits: checked once, with the first bad row named."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_dlperf.data.content import content_hash, distinct_rows
from pytest_dlperf.data.dataset import Examples, Split, as_data, read_data
from pytest_dlperf.data.rows import check_finite
from pytest_dlperf.errors import DataError

INPUTS = np.arange(12.0).reshape(4, 3)
LABELS = np.array([0, 1, 2, 1])


@pytest.mark.parametrize(
    "value",
    [
        (INPUTS, LABELS),
        [INPUTS, LABELS],
        (INPUTS.tolist(), LABELS.tolist()),
        SimpleNamespace(inputs=INPUTS, labels=LABELS),
    ],
)
def test_as_data_reads(value: object) -> None:
    """A pair, or an object with inputs and labels, is data; lists are read as arrays."""
    data = as_data(value)
    assert np.array_equal(data.inputs, INPUTS)
    assert np.array_equal(data.labels, LABELS)
    assert data.hash == as_data((INPUTS, LABELS)).hash


@pytest.mark.parametrize("value", [(INPUTS, None), SimpleNamespace(inputs=INPUTS, labels=None)])
def test_labels_may_be_missing(value: object) -> None:
    """Without labels there is data all the same."""
    data = as_data(value)
    assert data.labels is None
    assert np.array_equal(data.inputs, INPUTS)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (INPUTS, "data of type ndarray"),
        (None, "data of type NoneType"),
        ((INPUTS,), "data of type tuple"),
        ((INPUTS, LABELS, LABELS), "data of type tuple"),
        ({"inputs": INPUTS, "labels": LABELS}, "data of type dict"),
        ((INPUTS, LABELS[:3]), "4 rows of inputs, but 3 labels"),
        ((np.zeros((0, 3)), np.zeros(0)), "have no rows"),
        ((np.float64(3.0), None), "have no rows"),
        ((None, LABELS), "inputs are of type object"),
        ((np.array(["a", 1.5], object), None), "inputs: row 1 has 1.5, of type float"),
        (([[1, 2], [3]], None), "inputs cannot be read as one array"),
        ((INPUTS.astype(complex), None), "inputs are of type complex"),
        ((INPUTS, np.array(["2026-11-30"] * 4, "M8[D]")), "labels are of type"),
        ((INPUTS, [0.0, 1.0, np.nan, 2.0]), "labels: row 2"),
    ],
)
def test_as_data_refuses(value: object, problem: str) -> None:
    """What is no data is refused with what it is instead."""
    with pytest.raises(DataError) as caught:
        as_data(value)
    assert problem in str(caught.value)


@given(st.sets(st.integers(0, 19), min_size=1), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_first_bad_row_is_named(rows: set[int], value: float) -> None:
    """Values that are not finite are refused by the first row and the number of others."""
    inputs = np.zeros((20, 2, 2), np.float32)
    inputs[list(rows), 1, 0] = value
    with pytest.raises(DataError) as caught:
        as_data((inputs, None))
    text = str(caught.value)
    assert f"inputs: row {min(rows)} has a value that is not finite" in text
    assert (f"and {len(rows) - 1} more rows" in text) is (len(rows) > 1)


def test_values_that_are_not_finite_on_request() -> None:
    """A model may take missing values; labels may not be missing."""
    inputs = np.array([[1.0, np.nan]])

    assert read_data((inputs, None)).inputs is inputs
    with pytest.raises(DataError, match="labels: row 0"):
        read_data((inputs, [np.nan]))


def test_whole_numbers_are_finite() -> None:
    """Whole numbers and truth values need no look."""
    check_finite(np.array([[2**62]]), "inputs")
    assert as_data((np.array([[True], [False]]), None)).inputs.dtype == bool


_ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.uint8]),
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=4),
    elements=st.integers(0, 3),
)


@given(_ARRAYS, _ARRAYS)
def test_hash_tells_contents_apart(one: np.ndarray, other: np.ndarray) -> None:
    """Arrays hash alike exactly if their type, shape and contents are the same."""
    same = one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    assert (content_hash(one) == content_hash(other)) is same


def test_hash_is_of_the_values_not_of_the_memory() -> None:
    """A view, a copy and another memory order of the same values hash alike."""
    assert content_hash(INPUTS) == content_hash(np.asfortranarray(INPUTS))
    assert content_hash(INPUTS) == content_hash(np.repeat(INPUTS, 2, axis=0)[::2])


def test_hash_covers_everything() -> None:
    """One changed value, other labels, no labels and another order are other data."""
    changed = INPUTS.copy()
    changed[3, 2] += 1e-9
    hashes = {
        as_data(value).hash
        for value in (
            (INPUTS, LABELS),
            (changed, LABELS),
            (INPUTS, LABELS[::-1]),
            (INPUTS, None),
            (INPUTS[::-1], LABELS),
            (INPUTS.astype(np.float32), LABELS),
        )
    }
    assert len(hashes) == 6


def test_hash_is_stable() -> None:
    """The hash is written into baselines, so it must never change."""
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert content_hash(array, np.array([0, 1], np.int64)) == "4a9701ffff62b3ff"
    assert content_hash(array, None) == "a8752c4cd1f69011"


def test_lists_become_arrays_and_missing_values_may_be_there() -> None:
    """What people write by hand is read as numpy reads it; cleaning comes later."""
    examples = Examples([[1.0, np.nan], [3.0, 4.0]], [0, 1])  # type: ignore[arg-type]  # what users do

    np.testing.assert_array_equal(examples.inputs, [[1.0, np.nan], [3.0, 4.0]])
    np.testing.assert_array_equal(examples.labels, [0, 1])


@pytest.mark.parametrize(
    ("inputs", "labels", "said"),
    [
        (np.zeros((3, 2)), np.zeros(2), "3 rows of inputs, but 2 labels"),
        (
            np.array([[1j]]),
            np.zeros(1),
            "Examples(inputs) are of type complex128; expected numbers",
        ),
        (np.zeros((1, 2)), np.array([None]), "Examples(labels) are of type object"),
        (np.zeros((0, 2)), np.zeros(1), "Examples(inputs) of shape (0, 2) have no rows"),
    ],
)
def test_examples_that_cannot_be_used(inputs: np.ndarray, labels: np.ndarray, said: str) -> None:
    """Rows without labels, no numbers or no rows: the message says which of the two it is."""
    with pytest.raises(DataError) as refused:
        Examples(inputs, labels)

    assert said in str(refused.value)


def test_the_parts_of_a_split_have_rows_of_one_shape() -> None:
    """A model that learns from rows of one shape cannot be asked others."""
    with pytest.raises(DataError, match=r"training rows of shape \(2,\), but test rows of \(3,\)"):
        Split(Examples(np.zeros((4, 2)), np.zeros(4)), Examples(np.zeros((4, 3)), np.zeros(4)))


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "f2", "i4", "f4", "f8", "i8"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 2)])
def test_distinct_rows_by_brute_force(dtype: str, shape: tuple[int, ...]) -> None:
    """Rows have the same number if inputs and labels are the same; numbered as they occur."""
    random = np.random.default_rng(3)
    inputs = random.integers(0, 2, (200, *shape)).astype(dtype)
    labels = random.integers(0, 2, 200)
    numbers: dict[tuple[bytes, int], int] = {}
    keys = ((row.tobytes(), int(label)) for row, label in zip(inputs, labels, strict=True))
    wanted = [numbers.setdefault(key, len(numbers)) for key in keys]
    got = distinct_rows(inputs, labels)
    if len(numbers) == 200:
        assert got is None
    else:
        assert got is not None
        assert got.tolist() == wanted


def test_rows_that_nearly_agree_are_distinct() -> None:
    """A sign, an order, or a single bit is enough."""
    inputs = np.array([[1.0, 2.0], [2.0, 1.0], [-1.0, 2.0], [1.0, np.nextafter(2, 3)], [1.0, 2.0]])
    assert distinct_rows(inputs[:4]) is None
    got = distinct_rows(inputs, None)
    assert got is not None
    assert got.tolist() == [0, 1, 2, 3, 0]


def test_data_numbers_its_rows() -> None:
    """Rows that occur again are found where answers are scored."""
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    twice = np.concatenate([rows, rows])
    assert as_data((rows, [0, 1, 2])).distinct is None
    assert as_data((twice, None)).distinct is None
    distinct = as_data((twice, [0, 1, 2, 0, 1, 1])).distinct
    assert distinct is not None
    assert distinct.tolist() == [0, 1, 2, 0, 1, 3]


class Column:
    """The part of a column of pandas that is used."""

    def __init__(self, values: np.ndarray, index: list[int]) -> None:
        self._values, self.index, self.shape = values, index, values.shape

    def to_numpy(self) -> np.ndarray:
        """The values."""
        return self._values

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        """The values."""
        del dtype, copy
        return self._values


def test_labels_in_another_order() -> None:
    """Rows of tables belong together by their index, not by their place."""
    inputs, order = Column(INPUTS, [0, 1, 2, 3]), [3, 2, 1, 0]

    assert as_data((inputs, Column(LABELS, [0, 1, 2, 3]))).labels.tolist() == LABELS.tolist()
    with pytest.raises(DataError, match=r"different indexes\n  align them"):
        as_data((inputs, Column(LABELS[order], order)))
