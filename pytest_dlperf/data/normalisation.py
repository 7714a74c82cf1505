"""Normalisation: features scaled by what is learnt from the training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np

from pytest_dlperf._values import Described, check_choice
from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.data.rows import check_finite, one_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind: TypeAlias = Literal["standard", "min-max", "none"]

_EPSILON: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Normalisation(Described):
    """Scales each feature in all rows, ahead of time.

    Attributes:
        kind: `standard` (mean 0 and variance 1 over the training rows), `min-max` (from 0 to 1
            over the training rows; other rows may go beyond), or `none` (rows as they are).
    """

    kind: Kind = "standard"

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_choice(self.kind, get_args(Kind), "Normalisation(kind)")

    def __call__(self, split: Split) -> Split:
        """All rows, scaled, as float32; a DataError if a value is missing or not finite."""
        __tracebackhide__ = True
        if self.kind == "none":
            return split
        scaling = learnt_scaling(self.kind, one_array(split.train.inputs, str(self)))
        check_finite(split.test.inputs, "test inputs")
        return Split(
            *(
                Examples(scaling.applied(one_array(part.inputs, str(self))), part.labels)
                for part in (split.train, split.test)
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """`(row - centre) / spread` of each feature; both have the shape of a row, `spread` above 0."""

    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

    def applied(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Rows of shape `(rows, ...)`, scaled."""
        return ((rows - self.centre) / self.spread).astype(np.float32)


def learnt_scaling(kind: Literal["standard", "min-max"], rows: NDArray[Any]) -> Scaling:
    """The scaling of these rows, shape `(rows, ...)`; a constant feature has a spread of 1.

    The limits under which a feature is constant but for rounding are those of scikit-learn's
    `StandardScaler` and `MinMaxScaler`; the former's come from Chan, Golub and LeVeque 1983,
    "Algorithms for computing the sample variance".

    Raises:
        DataError: if a value is missing or not finite; names the first bad row.
    """
    __tracebackhide__ = True
    check_finite(rows, "training inputs")
    values = rows.astype(np.float64)
    if kind == "min-max":
        lowest = values.min(axis=0)
        spread = values.max(axis=0) - lowest
        return Scaling(lowest, np.where(spread < 10 * _EPSILON, 1.0, spread))
    mean, variance = values.mean(axis=0), values.var(axis=0)
    count = len(values)
    rounding = count * _EPSILON * variance + (count * mean * _EPSILON) ** 2
    return Scaling(mean, np.where(variance <= rounding, 1.0, np.sqrt(variance)))
