"""Inputs and labels as users have them: arrays, trees of arrays, text and tables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from pytest_dlperf.data.content import content_hash, distinct_rows
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.rows import read_rows
from pytest_dlperf.errors import DataError
from pytest_dlperf.trees import RowTree, as_tree, leaves

USERS, ITEMS = np.arange(6), np.arange(12.0).reshape(6, 2)
LABELS = np.array([0, 1, 0, 1, 0, 1])


class Pair(NamedTuple):
    """Two inputs with names."""

    user: Any
    item: Any


class Tensor:
    """An array of another framework."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape = values, values.shape

    def __len__(self) -> int:
        """Rows."""
        return len(self.values)

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        """The values."""
        del dtype, copy
        return self.values


class Table:
    """The part of a table of pandas that is used."""

    def __init__(self, **columns: list[Any]) -> None:
        self._columns = {name: np.array(values) for name, values in columns.items()}
        self.columns = list(columns)
        self.dtypes = None

    def __getitem__(self, name: str) -> Table:
        """A column."""
        return Table(**{name: self._columns[name].tolist()})

    def to_numpy(self) -> np.ndarray:
        """A column as it is, several side by side."""
        columns = list(self._columns.values())
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


@pytest.mark.parametrize(
    ("inputs", "paths"),
    [
        ({"user": USERS, "item": ITEMS}, ["user", "item"]),
        ({"user": USERS.tolist(), "item": ITEMS.tolist()}, ["user", "item"]),
        ({"a": {"b": USERS}, "c": [USERS, ITEMS]}, ["a.b", "c.0", "c.1"]),
        ((USERS, ITEMS), ["0", "1"]),
        ([USERS, ITEMS], ["0", "1"]),
        ([USERS, USERS], ["0", "1"]),
        (Pair(USERS, ITEMS), ["user", "item"]),
        ((Tensor(USERS), Tensor(ITEMS)), ["0", "1"]),
        ({1: USERS, 2: ITEMS}, ["1", "2"]),
    ],
)
def test_trees(inputs: object, paths: list[str]) -> None:
    """All leaves are arrays with the rows of the labels; what holds them stays what it is."""
    data = as_data((inputs, LABELS))

    assert isinstance(data.inputs, RowTree)
    assert len(data.inputs) == 6
    assert [path for path, _ in leaves(data.inputs.tree)] == paths
    assert all(type(leaf) is np.ndarray for _, leaf in leaves(data.inputs.tree))
    assert type(data.inputs.tree) is type(inputs)


@pytest.mark.parametrize(
    "inputs",
    [
        ITEMS,
        ITEMS.tolist(),
        list(ITEMS),
        [Tensor(row) for row in ITEMS],
        Table(a=[1] * 6, b=[2] * 6),
    ],
)
def test_rows(inputs: object) -> None:
    """A list of rows is one array, and so is a table of numbers of one type."""
    data = as_data((inputs, LABELS))

    assert isinstance(data.inputs, np.ndarray)
    assert data.inputs.shape == (6, 2)


@pytest.mark.parametrize("labels", [None, [0, 1]])
def test_a_list_that_can_be_read_in_two_ways(labels: object) -> None:
    """Two arrays of two rows may be two inputs or two rows: both readings are named."""
    with pytest.raises(DataError) as caught:
        as_data(([np.zeros((2, 3)), np.ones((2, 3))], labels))

    said = str(caught.value)
    assert "2 rows, or as 2 inputs with 2 rows each" in said
    assert "np.stack" in said
    assert "a tuple or a dict" in said


def test_a_table_of_several_types() -> None:
    """Each column is an input."""
    rows = read_rows(Table(age=[1, 2], name=["a", "b"]), "inputs")

    assert isinstance(rows, RowTree)
    assert rows.tree["name"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "texts", [["a", "bc"], [b"a", b"bc"], np.array(["a", "bc"]), np.array([b"a", b"bc"])]
)
def test_text(texts: Any) -> None:  # noqa: ANN401
    """Text is an array of objects, with no trailing zeros lost."""
    rows = read_rows(texts, "inputs")

    assert rows.dtype == object
    assert rows.tolist() == list(texts)


@pytest.mark.parametrize(
    ("inputs", "labels", "said"),
    [
        ({}, LABELS, "inputs: an empty dict has no rows"),
        ({"a": {}}, LABELS, "inputs.a: an empty dict has no rows"),
        ({1: USERS, "1": USERS}, LABELS, "inputs: 2 of them are called '1'"),
        (Table(**{"1": [1, 2]}), {"a": {2: USERS, "2": USERS}}, "labels.a: 2 of them"),
        ({"user": USERS, "item": ITEMS[:4]}, LABELS, "user has 6, item has 4"),
        ({"user": USERS[:4], "item": ITEMS[:4]}, LABELS, "4 rows of inputs, but 6 labels"),
        ({"user": USERS, "item": [[1], [2, 3]]}, LABELS, "inputs.item cannot be read"),
        (
            {"user": USERS, "item": np.array([1, "a", None], object)},
            None,
            "inputs.item: row 0 has 1",
        ),
        (["a", b"b"], None, "inputs"),
        ({"x": np.array([[1.0], [np.inf]])}, None, "inputs.x: row 1 has a value that is not"),
        (USERS, {"a": LABELS, "b": LABELS[:5]}, "labels: all parts need the same number"),
        (USERS, {"a": LABELS, "b": np.full(6, np.nan)}, "labels.b: row 0"),
        ((USERS, 3.0), LABELS, "inputs"),
        ({"t": np.array(["2026-11-30"], "M8[D]")}, None, "inputs.t are of type datetime64[D]"),
    ],
)
def test_trees_that_cannot_be_used(inputs: object, labels: object, said: str) -> None:
    """The path of what is wrong is named."""
    with pytest.raises(DataError) as caught:
        as_data((inputs, labels))

    assert said in str(caught.value)


def test_the_hash_covers_paths_types_and_text() -> None:
    """Nothing can change without another hash; the order of equal texts' letters counts."""
    texts = np.array(["ab", "c"], object)
    trees = [
        {"a": USERS, "b": ITEMS},
        {"a": USERS, "c": ITEMS},
        {"a": USERS.astype(np.int32), "b": ITEMS},
        {"a": USERS[::-1], "b": ITEMS},
        (USERS, ITEMS),
        {"a": texts},
        {"a": np.array(["a", "bc"], object)},
        {"a": np.array([b"ab", b"c"], object)},
        {"a": np.array(["\ud800", "c"], object)},  # half a character, as cut texts have it
    ]

    assert len({content_hash(read_rows(tree, "inputs")) for tree in trees}) == len(trees)


def test_rows_that_are_the_same_in_all_leaves() -> None:
    """One leaf alone does not make rows the same."""
    text = np.array(["x", "y", "x", "x"], object)
    number = np.array([1, 1, 1, 2])

    same = distinct_rows(read_rows({"text": text, "number": number}, "inputs"))

    assert same is not None
    assert same.tolist() == [0, 1, 0, 2]
    assert distinct_rows(read_rows({"n": np.arange(4), "text": text}, "inputs")) is None


def test_rows_that_were_read_before() -> None:
    """They are taken as they are."""
    rows = read_rows({"a": USERS}, "inputs")

    assert read_rows(rows, "inputs") is rows
    assert as_tree(rows)["a"] is not None
