"""Data that comes in pieces: read once, as rows or batches, and refused where that is open."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_dlperf.data import streams
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import DataError
from pytest_dlperf.trees import RowTree

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS, LABELS = np.arange(30.0).reshape(10, 3), np.arange(10) % 2


def batches(size: int = 4) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches, the last of which is smaller."""
    for start in range(0, len(ROWS), size):
        yield ROWS[start : start + size], LABELS[start : start + size]


def single_rows() -> Iterator[tuple[np.ndarray, int]]:
    """Rows with their labels."""
    yield from zip(ROWS, LABELS.tolist(), strict=True)


class Indexed:
    """A dataset that is asked by number."""

    def __len__(self) -> int:
        """Rows."""
        return len(ROWS)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.int64]:
        """A row."""
        return ROWS[number], LABELS[number]


@pytest.mark.parametrize("stream", [batches, single_rows, Indexed, lambda: map(tuple, batches(3))])
def test_pairs(stream: Any) -> None:  # noqa: ANN401
    """All rows come, in their order."""
    data = as_data(stream())

    np.testing.assert_array_equal(data.inputs, ROWS)
    np.testing.assert_array_equal(data.labels, LABELS)


def test_trees_and_text() -> None:
    """Pieces may have several inputs."""

    def pieces() -> Iterator[Any]:
        for rows, labels in batches():
            yield {"rows": rows, "text": [f"{label}" for label in labels]}, labels

    data = as_data(pieces())

    assert isinstance(data.inputs, RowTree)
    assert data.inputs.tree["text"].tolist() == [str(label) for label in LABELS]


def test_one_hot_labels() -> None:
    """Batches whose labels are vectors are no rows, and the other way round."""
    hot = np.eye(2)[LABELS]

    for pieces in ([(ROWS[:5], hot[:5]), (ROWS[5:], hot[5:])], list(zip(ROWS, hot, strict=True))):
        assert as_data(iter(pieces)).labels.shape == (10, 2)


def test_the_rows_are_counted() -> None:
    """So that somebody who waits sees how far it is."""
    told: list[int] = []
    as_data(single_rows(), told.append)

    assert told[0] == 1


def raising() -> Iterator[Any]:
    """A generator with a mistake."""
    yield ROWS[0], 1
    raise ValueError("no file")


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (iter([]), "there is nothing in it\n  a generator can be read once only"),
        (iter([(ROWS, LABELS, LABELS)]), "piece 0 has 3 parts"),
        (iter([(ROWS[:, 0], LABELS)]), "piece 0 may be a row or a batch of 10"),
        (iter([(ROWS, ROWS)]), "piece 0 may be a row or a batch of 10"),
        (iter([(np.zeros((8, 8, 3)), np.zeros((8, 8)))]), "piece 0 may be a row or a batch of 8"),
        (iter([ROWS]), "piece 0 may be a row or a batch of 10"),
        (iter([({"a": ROWS}, LABELS), ({"b": ROWS}, LABELS)]), "piece 1 has other inputs"),
        (iter([(ROWS, LABELS), (ROWS[:, :2], LABELS)]), "inputs differ in shape"),
        (iter([(ROWS[0], 1), (ROWS[1, :2], 1)]), "are given as Ragged(rows)"),
        (iter([([[1], [2, 3]], LABELS)]), "are given as Ragged(rows)"),
        (iter([(object(), LABELS)]), "a part of type object is no array"),
        (raising(), "generator raised ValueError: no file"),
    ],
)
def test_streams_that_cannot_be_read(stream: object, said: str) -> None:
    """What is wrong with which piece, and what to do."""
    with pytest.raises(DataError) as caught:
        as_data(stream)

    assert said in str(caught.value)


def test_a_stream_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading ends at a limit that is named."""
    monkeypatch.setattr(streams, "MOST_BYTES", 500)
    endless = (piece for _ in iter(int, 1) for piece in batches())

    with pytest.raises(DataError, match=r"more than 0.0 GB in \d+ rows\n.*dataset.take"):
        as_data(endless)


def test_a_generator_is_read_once() -> None:
    """The second time there is nothing in it."""
    stream = batches()
    as_data(stream)

    with pytest.raises(DataError, match="can be read once only"):
        as_data(stream)


@pytest.mark.torch
def test_loaders_of_torch() -> None:
    """A `DataLoader` has batches; its dataset rows."""
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    dataset = TensorDataset(torch.tensor(ROWS), torch.tensor(LABELS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = TensorDataset(torch.zeros(10, 4, 4, 3), torch.zeros(10, 4, 4))
        assert as_data(images).inputs.shape == (10, 4, 4, 3)
        for each in (dataset, DataLoader(dataset, batch_size=4), DataLoader(dataset, None)):
            data = as_data(each)
            np.testing.assert_array_equal(data.inputs, ROWS)
            np.testing.assert_array_equal(data.labels, LABELS)
