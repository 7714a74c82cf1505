"""Outputs of targets become numpy arrays, by the means of each framework."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_dlperf.load.outputs import read_outputs, with_batch_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALUES = np.arange(6.0).reshape(2, 3)


class OnDevice:
    """A tensor as PyTorch has them: converted only once it is copied to the CPU."""

    def cpu(self) -> OnCpu:
        """The tensor in the memory of the CPU."""
        return OnCpu()

    def __array__(self) -> object:
        """Refused."""
        raise TypeError("use Tensor.cpu() to copy the tensor to host memory first")


class OnCpu:
    """A tensor that knows nothing of numpy 2's argument `copy`."""

    def __init__(self, values: NDArray[np.float64] = VALUES) -> None:
        self.values = values

    def __array__(self, dtype: object = None) -> object:
        """The values."""
        del dtype
        return self.values


class Current(OnCpu):
    """A tensor that knows it, and cannot be read without a copy."""

    def __array__(self, dtype: object = None, copy: object = None) -> object:
        """A copy of the values."""
        del dtype
        assert copy is not False
        return self.values.copy()


@pytest.mark.parametrize(
    "outputs",
    [
        *(VALUES, VALUES.tolist(), OnDevice(), OnCpu(), Current()),
        *([kind(row) for row in VALUES] for kind in (OnCpu, Current)),
        tuple(map(OnCpu, VALUES)),
    ],
)
def test_arrays(outputs: object) -> None:
    """Whatever holds an array is read, without a warning a call."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_outputs(outputs)

    assert isinstance(read, np.ndarray)
    np.testing.assert_array_equal(read, VALUES)


def test_rows_of_different_lengths_stay_as_they_are() -> None:
    """They are an answer of the wrong shape, not a failed call."""
    ragged = [[1.0], [2.0, 3.0]]

    assert read_outputs(ragged) is ragged


def test_an_array_that_cannot_be_read_raises() -> None:
    """The error is the target's."""

    class Broken:
        def __array__(self, dtype: object = None, copy: object = None) -> object:
            raise ValueError("the device was reset")

    with pytest.raises(ValueError, match="the device was reset"):
        read_outputs(Broken())


def test_the_answer_to_one_row() -> None:
    """Numbers of any type and text get a batch axis, in trees too; other objects do not."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    short = with_batch_axis(VALUES[0].astype(ml_dtypes.bfloat16))
    named = with_batch_axis({"label": "a", "score": 0.5})

    assert isinstance(short, np.ndarray)
    assert isinstance(named, dict)
    assert short.shape == (1, 3)
    assert {name: part.tolist() for name, part in named.items()} == {"label": ["a"], "score": [0.5]}
    assert with_batch_axis(None) is None
