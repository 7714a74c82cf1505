"""Trees of arrays are sliced, indexed and walked as one array is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from pytest_dlperf.trees import (
    RowTree,
    as_tree,
    described,
    first_rows,
    leaves,
    mapped,
    read_only,
    rows_of,
    taken,
)

USERS = np.arange(5)
ITEMS = np.arange(10.0).reshape(5, 2)
TREE = {"user": USERS, "items": [ITEMS, (ITEMS * 2,)]}


class Pair(NamedTuple):
    """Two inputs with names."""

    user: np.ndarray
    item: np.ndarray


def test_leaves_have_paths() -> None:
    """Names and numbers, from the outside in; an array alone has an empty path."""
    assert [path for path, _ in leaves(TREE)] == ["user", "items.0", "items.1.0"]
    assert [path for path, _ in leaves(Pair(USERS, ITEMS))] == ["user", "item"]
    assert [path for path, _ in leaves(USERS)] == [""]


def test_mapped_keeps_the_structure() -> None:
    """A dict, a list, a tuple and a named tuple stay what they are."""
    shapes = mapped(np.shape, {**TREE, "pair": Pair(USERS, ITEMS)})

    assert shapes == {
        "user": (5,),
        "items": [(5, 2), ((5, 2),)],
        "pair": Pair((5,), (5, 2)),
    }
    assert type(shapes["pair"]) is Pair


def test_a_slice_is_a_batch_of_views() -> None:
    """Nothing is copied for a batch."""
    rows = RowTree(TREE, 5)
    batch = rows[1:3]

    assert len(rows) == 5
    assert rows_of(batch) == 2
    np.testing.assert_array_equal(batch["items"][1][0], ITEMS[1:3] * 2)
    assert np.shares_memory(batch["user"], USERS)


@pytest.mark.parametrize("index", [np.array([4, 0, 4]), np.array([1, 0, 1, 0, 1], bool)])
def test_rows_by_number_or_mask(index: np.ndarray) -> None:
    """Of a tree and of an array alike; they are copies."""
    some = taken(RowTree(TREE, 5), index)

    assert len(some) == 3
    np.testing.assert_array_equal(as_tree(some)["user"], taken(USERS, index))
    assert not np.shares_memory(as_tree(some)["user"], USERS)


def test_rows_that_cannot_be_written_to() -> None:
    """A target that writes into its inputs fails."""
    rows = first_rows(RowTree(TREE, 5), 2)

    with pytest.raises(ValueError, match="read-only"):
        rows[:1]["user"][0] = 7
    with pytest.raises(ValueError, match="read-only"):
        read_only(USERS.copy())[0] = 7


def test_words() -> None:
    """Types and shapes by path."""
    tree = {"text": np.array(["a"], object), "ids": np.zeros((1, 3), np.int32)}

    assert described(tree) == "text: text (1,), ids: int32 (1, 3)"
    assert described(np.zeros((2, 3), np.float32)) == "float32 (2, 3)"
