"""Rows of many lengths: padded in batches, never cut, and told apart by their content."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_dlperf.data.content import content_hash, distinct_rows
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.rows import read_rows
from pytest_dlperf.errors import DataError, UsageError
from pytest_dlperf.ragged import PaddedRows, Ragged, padded_rows, padding_share
from pytest_dlperf.targets.grouping import grouped, length_groups
from pytest_dlperf.trees import RowTree, described, first_rows, leaves, taken

TOKENS = [[1, 2, 3], [4], [], [5, 6]]


def batch(rows: object, start: int, stop: int) -> Any:  # noqa: ANN401 - a tree
    """A batch of rows that were read."""
    read = read_rows(rows, "inputs")
    assert isinstance(read, RowTree)
    return read[start:stop]


def test_a_batch_is_padded_to_its_longest_row() -> None:
    """Not to the longest row of all."""
    rows = Ragged(TOKENS, pad=-1)

    assert batch(rows, 0, 2).tolist() == [[1, 2, 3], [4, -1, -1]]
    assert batch(rows, 1, 3).tolist() == [[4], [-1]]
    assert batch(rows, 2, 3).shape == (1, 0)


def test_a_batch_is_padded_to_the_next_length() -> None:
    """So a target meets a few shapes only."""
    rows = Ragged(TOKENS, lengths=(2, 4))

    assert [batch(rows, n, n + 1).shape for n in range(4)] == [(1, 4), (1, 2), (1, 2), (1, 2)]


def test_a_mask() -> None:
    """It stands beside its rows, and has their length."""
    both = batch({"ids": Ragged(TOKENS, lengths=(2, 4), mask="mask"), "n": np.arange(4)}, 0, 2)

    assert list(both) == ["ids", "mask", "n"]
    assert both["mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert both["mask"].dtype == np.int32


def test_rows_of_vectors() -> None:
    """All but the length is alike; types are joined."""
    rows = Ragged([np.ones((2, 3), np.float32), np.zeros((1, 3))])
    read = read_rows(rows, "inputs")

    assert read[:].shape == (2, 2, 3)
    assert read[:].dtype == np.float64
    assert described(read.tree) == "float64 (2, None, 3)"


def test_empty_lists_among_rows_of_vectors() -> None:
    """They have no values whose shape could differ."""
    read = padded_rows(Ragged([[], [[1, 2], [3, 4]], []]), "inputs")

    assert read.values.tolist() == [[[0, 0]] * 2, [[1, 2], [3, 4]], [[0, 0]] * 2]
    assert read.ends.tolist() == [0, 2, 0]


def test_bits_are_padded_with_zeros() -> None:
    """As everything is unless `pad` says otherwise."""
    read = padded_rows(Ragged([[True], [True, True]]), "labels")

    assert read.values.tolist() == [[True, False], [True, True]]


def test_some_rows() -> None:
    """They stay rows of many lengths."""
    some = taken(read_rows(Ragged(TOKENS), "inputs"), np.array([3, 1]))

    assert some[:].tolist() == [[5, 6], [4, 0]]
    assert first_rows(some, 1)[:].tolist() == [[5, 6]]
    with pytest.raises(ValueError, match="read-only"):
        some[:1][0, 0] = 7


def test_content() -> None:
    """A row that ends with the value of the padding is another one."""
    short, long = Ragged([[1], [2]]), Ragged([[1, 0], [2]])

    assert content_hash(read_rows(short, "x")) != content_hash(read_rows(long, "x"))
    same = distinct_rows(read_rows(Ragged([[1], [1, 0], [1]]), "x"))
    assert same is not None
    assert same.tolist() == [0, 1, 0]


def test_padding_share() -> None:
    """Of batches of consecutive rows: 6 of 12 places, and none in batches of one row."""
    (leaf,) = [leaf for _, leaf in leaves(read_rows(Ragged([[1] * 3, [1]] * 4), "x").tree)]
    assert isinstance(leaf, PaddedRows)

    assert padding_share(leaf, {2: 10}) == pytest.approx(1 / 3)
    assert padding_share(leaf, {1: 10}) == 0
    assert padding_share(leaf, {1: 4, 2: 2}) == pytest.approx(1 - 16 / 20)
    assert padding_share(leaf, {}) == 0


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (Ragged([]), "Ragged has no rows"),
        (Ragged([1, 2]), "row 0 is 1; expected an array of numbers with a length"),
        (Ragged([[1], ["a"]]), "row 1 is ['a']"),
        (Ragged([[1], [[1, 2], [3]]]), "row 1 cannot be read as one array"),
        (Ragged([[[1, 2]], [[1]]]), "row 1 has values of shape (1,), row 0 of shape (2,)"),
        (Ragged(TOKENS, lengths=(1, 2)), "row 0 has length 3, but Ragged(lengths=(1, 2)) ends"),
        (Ragged(TOKENS, lengths=(4, 2)), "expected ascending lengths, such as (16, 32, 64)"),
        (Ragged(TOKENS, lengths=()), "expected ascending lengths"),
        (Ragged(TOKENS, lengths=4), "expected ascending lengths"),  # type: ignore[arg-type]
        (Ragged(TOKENS, pad=0.5), "pad=0.5 is no value of type int64"),
        (Ragged([np.ones(1, np.uint8)], pad=300), "pad=300 is no value of type uint8"),
        (Ragged([np.ones(1, bool)], pad=2), "pad=2 is no value of type bool"),
        (Ragged(5), "expected an array for each row"),  # type: ignore[arg-type]
        (Ragged([[], np.ones((1, 2)), [1]]), "row 2 has values of shape (), row 1 of shape"),
        (Ragged(TOKENS, mask="mask"), "give the rows by name, too"),
        ({"ids": Ragged(TOKENS, mask="n"), "n": [1, 2, 3, 4]}, "'n' is an input already"),
        (
            {"ids": Ragged(TOKENS, mask="n"), "title": Ragged([[1]] * 4, mask="n")},
            "'n' is an input already, and Ragged(mask=) of 'title'",
        ),
        ({"ids": Ragged(TOKENS), "n": [1, 2, 3]}, "ids has 4, n has 3"),
        (Ragged([[1.0], [np.nan]]), "inputs: row 1 has a value that is not finite"),
    ],
)
def test_misuses(inputs: object, said: str) -> None:
    """The row or the argument is named."""
    with pytest.raises(DataError) as caught:
        as_data((inputs, None))

    assert said in str(caught.value)


def test_iterables_are_read_once() -> None:
    """A generator of rows will do."""
    assert len(padded_rows(Ragged(iter(TOKENS)), "x")) == 4


def test_rows_are_grouped_by_length() -> None:
    """Each group is padded to its own length, and answers come in the order of the batch."""
    rows = read_rows(
        {"ids": Ragged(TOKENS, lengths=(1, 2, 4), mask="mask"), "n": [7, 8, 9, 6]}, "x"
    )
    asked = []

    def infer(batch: Any) -> Any:  # noqa: ANN401 - trees
        asked.append((batch["ids"].shape, batch["n"].tolist()))
        assert batch["ids"].shape == batch["mask"].shape
        assert not batch["ids"].flags.writeable
        sums = (batch["ids"] * batch["mask"]).sum(axis=1)
        return {"sum": sums, "tokens": batch["ids"] * 2, "pair": (batch["n"], sums)}

    answer: Any = grouped(infer, length_groups(rows))(rows[:])

    assert asked == [((2, 1), [8, 9]), ((1, 2), [6]), ((1, 4), [7])]
    assert answer["sum"].tolist() == [6, 4, 0, 11]
    assert answer["pair"][0].tolist() == [7, 8, 9, 6]
    assert answer["tokens"].tolist() == [[2, 4, 6, 0], [8, 0, 0, 0], [0] * 4, [10, 12, 0, 0]]
    asked.clear()
    grouped(infer, length_groups(rows))(rows[1:3])
    assert len(asked) == 1


@pytest.mark.parametrize(
    "inputs",
    [
        np.zeros((4, 2)),
        {"ids": Ragged(TOKENS, lengths=(2, 4))},
        {"ids": Ragged(TOKENS, mask="mask")},
        {
            "ids": Ragged(TOKENS, lengths=(2, 4), mask="mask"),
            "more": Ragged(TOKENS[::-1], lengths=(2, 4)),
        },
    ],
)
def test_rows_that_cannot_be_grouped(inputs: object) -> None:
    """Lengths have to be told by one mask."""
    with pytest.raises(UsageError, match=r"group_by_length"):
        length_groups(read_rows(inputs, "inputs"))
