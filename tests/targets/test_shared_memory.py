"""Shared arrays: what one process writes, the other reads."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_dlperf.targets.shared_memory import SharedArrays
from pytest_dlperf.trees import leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@pytest.fixture
def sides() -> Iterator[tuple[SharedArrays, SharedArrays]]:
    """The writer's side and the reader's, with a descriptor each as two processes have."""
    with contextlib.closing(SharedArrays()) as writer:
        reader = SharedArrays(os.dup(writer.descriptor))
        with contextlib.closing(reader):
            yield writer, reader


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::2],
        np.array([[True], [False]]),
        np.array([1.5], dtype=">f8"),
        np.zeros((0, 7)),
        np.array(3),
        np.array(["one", "three"]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_round_trip(sides: tuple[SharedArrays, SharedArrays], array: NDArray[Any]) -> None:
    """Type, shape and values arrive, of any layout in memory."""
    writer, reader = sides

    view = reader.get(writer.put(array))

    assert view.dtype == array.dtype
    np.testing.assert_array_equal(view, array)


def test_room_grows_on_both_sides(sides: tuple[SharedArrays, SharedArrays]) -> None:
    """A larger array than all before arrives whole, and a small one after it, too."""
    writer, reader = sides

    for rows in (1, 10, 100_000, 3):
        array = np.random.default_rng(rows).random((rows, 8))
        np.testing.assert_array_equal(reader.get(writer.put(array)), array)


def test_a_reading_is_in_place(sides: tuple[SharedArrays, SharedArrays]) -> None:
    """Nothing is copied for a reader: the next array shows through what was read before."""
    writer, reader = sides
    view = reader.get(writer.put(np.array([1, 2])))

    writer.put(np.array([3, 4]))

    assert view.tolist() == [3, 4]


def test_a_reader_cannot_write(sides: tuple[SharedArrays, SharedArrays]) -> None:
    """Who changes what it was sent is told so."""
    writer, reader = sides
    view = reader.get(writer.put(np.zeros(3)))

    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_what_was_read_outlives_the_room() -> None:
    """An answer that somebody still holds stays valid when both sides are closed."""
    writer = SharedArrays()
    reader = SharedArrays(os.dup(writer.descriptor))
    view = reader.get(writer.put(np.arange(1000)))

    writer.close()
    reader.close()

    assert view.sum() == 499_500


@pytest.mark.parametrize("array", [np.array([object()]), np.zeros(2, dtype="V3")])
def test_objects_are_refused(sides: tuple[SharedArrays, SharedArrays], array: NDArray[Any]) -> None:
    """What means nothing in another process is not sent there."""
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        sides[0].put(array)


@pytest.mark.parametrize(
    "tree",
    [
        {"ids": np.arange(6, dtype=np.int32).reshape(2, 3), "mask": np.array([True, False])},
        [np.zeros((2, 0)), (np.ones((2, 5), np.float16), np.arange(2))],
        np.array(["a", "long text"], object),
        {"text": np.array([b"a\0", b""], object), "n": np.arange(2)},
    ],
    ids=["dict", "list", "text", "bytes"],
)
def test_trees(sides: tuple[SharedArrays, SharedArrays], tree: Any) -> None:  # noqa: ANN401
    """Structure, types, shapes and values arrive, text included."""
    writer, reader = sides

    for _ in range(2):  # after another layout, and after the same one
        writer.put(np.zeros(1000))
        arrived = reader.get(writer.put(tree))

    assert type(arrived) is type(tree)
    for (path, leaf), (same_path, same) in zip(leaves(arrived), leaves(tree), strict=True):
        assert (path, leaf.dtype) == (same_path, same.dtype)
        np.testing.assert_array_equal(leaf, same)
