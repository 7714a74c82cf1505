"""Normalisation: features scaled by what is learnt from the training rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np

from pytest_dlperf._values import Described, check_choice
from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.data.numeric_leaves import numeric_leaves, paths_given
from pytest_dlperf.data.rows import check_finite
from pytest_dlperf.ragged import PaddedRows
from pytest_dlperf.trees import as_tree, leaves, with_leaves

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind: TypeAlias = Literal["standard", "min-max", "none"]

_EPSILON: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Normalisation(Described):
    """Scales each feature in all rows, ahead of time.

    Each input of a tree is scaled by itself. Integers of a tree may be ids, so they stay as they
    are unless they are named; text always does. Of rows of many lengths (`Ragged`), what stands at
    the same place of each of a row's values is one feature; their padding stays.

    Attributes:
        kind: `standard` (mean 0 and variance 1 over the training rows), `min-max` (from 0 to 1
            over the training rows; other rows may go beyond), or `none` (rows as they are).
        leaves: paths of the inputs to scale, such as `("age", "pixels")`. None is for one array,
            and for the floats of a tree.
    """

    kind: Kind = "standard"
    leaves: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_choice(self.kind, get_args(Kind), "Normalisation(kind)")
        object.__setattr__(self, "leaves", paths_given(self.leaves, "Normalisation(leaves)"))

    def __call__(self, split: Split) -> Split:
        """All rows, with what is scaled as float32.

        Raises:
            DataError: if there is nothing to scale, or a value of it is missing or not finite.
        """
        __tracebackhide__ = True
        if self.kind == "none":
            return split
        chosen = numeric_leaves(split.train.inputs, self.leaves, str(self))
        trains, tests = [], []
        trees = (as_tree(part.inputs) for part in (split.train, split.test))
        for (path, train), (_, test) in zip(*map(leaves, trees), strict=True):
            if path in chosen:
                where = f"inputs.{path}" if path else "inputs"
                check_finite(train, f"training {where}")
                check_finite(test, f"test {where}")
                scaling = learnt_scaling(self.kind, _values(train))
                train, test = _scaled(scaling, train), _scaled(scaling, test)  # noqa: PLW2901
            trains.append(train)
            tests.append(test)
        return Split(
            Examples(with_leaves(split.train.inputs, trains), split.train.labels),
            Examples(with_leaves(split.test.inputs, tests), split.test.labels),
        )


def _values(leaf: Any) -> NDArray[Any]:  # noqa: ANN401 - a leaf
    """The values from which a scaling is learnt, shape `(values, ...)`: without padding."""
    return leaf.values[_inside(leaf)] if isinstance(leaf, PaddedRows) else leaf


def _inside(leaf: PaddedRows) -> NDArray[np.bool_]:
    """Where there are values, shape `(rows, longest)`."""
    inside: NDArray[np.bool_] = np.arange(leaf.values.shape[1]) < leaf.ends[:, np.newaxis]
    return inside


def _scaled(scaling: Scaling, leaf: Any) -> Any:  # noqa: ANN401 - a leaf
    if not isinstance(leaf, PaddedRows):
        return scaling.applied(leaf)
    values, inside = leaf.values.astype(np.float32), _inside(leaf)
    values[inside] = scaling.applied(leaf.values[inside])
    return replace(leaf, values=values)


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
