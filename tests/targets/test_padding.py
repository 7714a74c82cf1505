"""Padding: answers are cut to the rows of the batch, and it is done only where it pays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.targets.compiled import batched
from pytest_dlperf.targets.padding import faster, padded, powers_of_two

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_the_faster_way_is_chosen() -> None:
    """The faster of the two ways is chosen by time, and the plain one if they tie."""
    clock = FakeClock()

    def fast(batch: NDArray[Any]) -> NDArray[Any]:
        clock.now += 1000
        return batch

    def slow(batch: NDArray[Any]) -> NDArray[Any]:
        clock.now += 2000
        return batch

    def as_fast(batch: NDArray[Any]) -> NDArray[Any]:
        return fast(batch)

    batches = [np.zeros((size, 1)) for size in (3, 5, 7)]
    assert faster(slow, fast, batches, clock) is fast
    assert faster(fast, slow, batches, clock) is fast
    assert faster(fast, as_fast, batches, clock) is fast


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(0, ()), (1, (1,)), (2, (1, 2)), (8, (1, 2, 4, 8)), (12, (1, 2, 4, 8, 12))],
)
def test_powers_of_two(largest: int, sizes: tuple[int, ...]) -> None:
    """The powers of two below the largest size, and the largest itself."""
    assert powers_of_two(largest) == sizes


@given(st.sets(st.integers(1, 40), min_size=1).map(sorted), st.data())
def test_each_batch_goes_up_to_the_next_size(sizes: list[int], data: st.DataObject) -> None:
    """The target sees the smallest size that holds the batch: its rows, then zeros."""
    seen: list[NDArray[Any]] = []

    def double(batch: NDArray[Any]) -> NDArray[Any]:
        seen.append(batch)
        return batch * 2

    rows = data.draw(st.integers(1, sizes[-1]))
    batch = np.arange(1.0, 2 * rows + 1).reshape(rows, 2)

    np.testing.assert_array_equal(padded(double, sizes)(batch), batch * 2)

    (sent,) = seen
    assert len(sent) == min(size for size in sizes if size >= rows)
    np.testing.assert_array_equal(sent[:rows], batch)
    assert not sent[rows:].any()


def test_what_is_filled_up_cannot_be_changed() -> None:
    """A target that writes into its input is found out, as it is without padding."""

    def spoil(batch: NDArray[Any]) -> NDArray[Any]:
        batch[0] = 7
        return batch

    with pytest.raises(ValueError, match="read-only"):
        padded(spoil, (4,))(np.ones((3, 1)))


def test_answers_that_lack_rows_are_not_cut_right() -> None:
    """Of 8 rows that were sent 7 come back for a batch of 5: they stay 7, to be found out."""
    answer = padded(lambda batch: batch[:-1], (8,))(np.ones((5, 1)))

    assert np.shape(answer) == (7, 1)


@pytest.mark.parametrize(
    ("tries", "words"),
    [(True, "batches padded to powers of two"), (False, "batches sent as they are")],
)
def test_a_duel_does_not_try(*, tries: bool, words: str) -> None:
    """Padding that is much faster is chosen; in a duel both sides send batches as they are."""
    clock = FakeClock()

    def direct(batch: NDArray[Any]) -> object:
        clock.now += 1_000_000 if len(batch) & (len(batch) - 1) == 0 else 9_000_000
        return batch

    the_plan = replace(plan([Options()]), tries_padding=tries)

    assert batched(direct, np.ones((64, 4), np.float32), the_plan, clock)[1] == words


def test_answers_of_another_device_are_read_as_elsewhere() -> None:
    """An answer that numpy converts only once it is on the CPU is cut like any other."""

    class OnDevice:
        def __init__(self, values: NDArray[np.float64]) -> None:
            self._values = values

        def cpu(self) -> NDArray[np.float64]:
            return self._values

        def __array__(self, dtype: object = None, copy: object = None) -> object:
            raise TypeError("use Tensor.cpu() to copy the tensor to host memory first")

    answer = padded(OnDevice, (4,))(np.ones((3, 1)))

    np.testing.assert_array_equal(answer, np.ones((3, 1)))


def test_trees() -> None:
    """Each input is padded, text with the first one, and each output is cut."""
    asked = []

    def infer(batch: dict[str, NDArray[Any]]) -> dict[str, object]:
        asked.append(batch)
        rows = list(batch["ids"])
        return {"sum": batch["ids"].sum(axis=1), "pair": (batch["ids"], rows), "rows": rows[:]}

    batch = {"ids": np.ones((3, 2)), "text": np.array(["a", "b", "c"], object)}
    answer = padded(infer, (4,))(batch)

    assert asked[0]["text"].tolist() == ["a", "b", "c", "a"]
    assert asked[0]["ids"].sum() == 6
    assert isinstance(answer, dict)
    assert [len(answer["sum"]), len(answer["pair"][0]), len(answer["rows"])] == [3, 3, 3]


def test_as_many_outputs_as_rows() -> None:
    """Outputs are not taken for rows."""
    answer = padded(lambda batch: (batch, batch * 2), (2,))(np.ones((1, 2)))

    assert isinstance(answer, tuple)
    assert [len(output) for output in answer] == [1, 1]
