"""Examples: rows with their labels, to learn from or to be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_dlperf.data.dataset import as_rows
from pytest_dlperf.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Rows with their labels.

    Values may be missing (not a number) until they are cleaned.

    Attributes:
        inputs: shape `(rows, ...)`, numeric.
        labels: shape `(rows, ...)`.
    """

    inputs: NDArray[Any]
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        for name in ("inputs", "labels"):
            object.__setattr__(self, name, as_rows(getattr(self, name), f"Examples({name})"))
        if len(self.labels) != len(self.inputs):
            raise DataError(
                f"Examples: {len(self.inputs)} rows of inputs, but {len(self.labels)} labels"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """What a model learns from, and what it is asked.

    Attributes:
        train: rows to learn from.
        test: rows held back, of the same shape.
    """

    train: Examples
    test: Examples

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        learnt, asked = self.train.inputs.shape[1:], self.test.inputs.shape[1:]
        if learnt != asked:
            raise DataError(
                f"Split: rows of shape {learnt} to learn from, but of shape {asked} held back"
            )


class Preparation(Protocol):
    """A step of data preprocessing, such as cleaning or normalising.

    Its `str()` tells it from every other one: trained models are kept under it.
    """

    def __call__(self, split: Split) -> Split:
        """Rows as this step makes them; what it learns, it learns from the training rows only."""
        ...
