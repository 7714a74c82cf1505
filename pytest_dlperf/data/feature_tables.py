"""Tables of features: the leaves of numbers of training and test rows, as cleaning sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.data.outlier_limits import OutlierLimits, learnt_limits
from pytest_dlperf.data.rows import check_finite
from pytest_dlperf.errors import DataError
from pytest_dlperf.ragged import PaddedRows
from pytest_dlperf.trees import as_tree, leaves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.data.dataset import Split
    from pytest_dlperf.trees import Rows

_WHOLE: Final = "biu"  # numpy's kinds of whole numbers


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """A leaf of numbers, before the rules act.

    Attributes:
        path: of the leaf.
        train, test: its values, shape `(rows, features)`.
        shape: of one row as it was given.
        limits: of what is no outlier; None if none are looked for.
    """

    path: str
    train: NDArray[Any]
    test: NDArray[Any]
    shape: tuple[int, ...]
    limits: OutlierLimits | None = None

    def named(self, part: str) -> str:
        """The inputs of a part, `training` or `test`, in words."""
        return f"{part} inputs.{self.path}" if self.path else f"{part} inputs"

    def limited(self, kept: NDArray[np.bool_], k: float) -> FeatureTable:
        """The same with the limits that the rows that are kept teach."""
        whole = self.train.dtype.kind in _WHOLE or self.test.dtype.kind in _WHOLE
        return replace(self, limits=learnt_limits(self.train[kept], k, whole=whole))

    def beyond(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Which values of training or test rows are outliers."""
        if self.limits is None:
            return np.zeros(rows.shape, dtype=np.bool_)
        return self.limits.beyond(rows)


def tables_of(split: Split) -> tuple[FeatureTable, ...]:
    """The leaves of numbers of one shape; a DataError for a value that no rule is for."""
    __tracebackhide__ = True
    tables = []
    trees = (as_tree(part.inputs) for part in (split.train, split.test))
    for (path, train), (_, test) in zip(*map(leaves, trees), strict=True):
        if isinstance(train, PaddedRows):
            _refuse_ragged(split, path)
        if not isinstance(train, np.ndarray) or train.dtype.hasobject:
            continue
        rows, others = (values.reshape(len(values), -1) for values in (train, test))
        table = FeatureTable(path, rows, others, train.shape[1:])
        hint = "a value that is missing is written as not a number (nan)"
        for values, name in ((table.train, "training"), (table.test, "test")):
            refuse(np.isinf(values), table.named(name), "is infinite", hint)
        tables.append(table)
    return tuple(tables)


def _refuse_ragged(split: Split, path: str) -> None:
    __tracebackhide__ = True
    for part, name in ((split.train, "training"), (split.test, "test")):
        leaf = dict(leaves(as_tree(part.inputs)))[path]
        try:
            check_finite(leaf, f"{name} inputs.{path}" if path else f"{name} inputs")
        except DataError as error:
            raise DataError(
                f"{error}\n  no rule fills rows of many lengths (Ragged): fill them, or leave "
                "the row out, before"
            ) from None


def beside(found: Sequence[NDArray[np.bool_]], rows: Rows) -> NDArray[np.bool_]:
    """What was found in the values of all leaves, shape `(rows, features)`."""
    return np.hstack([np.zeros((len(rows), 0), np.bool_), *found])


def refuse(bad: NDArray[np.bool_], what: str, problem: str, hint: str) -> None:
    """Raise a DataError that names the first bad value, shape `(rows, features)`."""
    __tracebackhide__ = True
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows):
        first = int(rows[0])
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        raise DataError(
            f"{what}: row {first}, feature {int(np.argmax(bad[first]))} {problem}{more}\n  {hint}"
        )


def refuse_empty(tables: Sequence[FeatureTable], kept: NDArray[np.bool_]) -> None:
    """Raise a DataError that names the first feature without a value in the rows that are kept."""
    __tracebackhide__ = True
    for table in tables:
        empty = np.flatnonzero(np.isnan(table.train[kept]).all(axis=0))
        if kept.any() and len(empty):
            raise DataError(
                f"{table.named('training')}: feature {int(empty[0])} has no value in any row that "
                "is left\n  leave the feature out, or drop fewer rows"
            )
