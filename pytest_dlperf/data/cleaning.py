"""Cleaning: missing values, outliers, and rows that occur twice."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np

from pytest_dlperf._values import Described, check_choice, check_number
from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.data.rows import check_finite, one_array
from pytest_dlperf.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray


Missing: TypeAlias = Literal["fail", "drop", "mean", "median"]
Beyond: TypeAlias = Literal["clip", "drop"]
Repeated: TypeAlias = Literal["keep", "drop"]

_QUARTILES: Final = (25, 75)
_WHOLE: Final = "biu"  # numpy's kinds of whole numbers

Limits: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"
_MISSING: Final = MappingProxyType(
    {
        "fail": "refused",
        "drop": "training rows dropped, test rows get the feature's mean",
        "mean": "filled with the feature's mean",
        "median": "filled with the feature's median",
    }
)
_OUTLIERS: Final = MappingProxyType(
    {"clip": "set to the limit", "drop": "training rows dropped, test rows left"}
)
_REPEATED: Final = MappingProxyType({"keep": "kept", "drop": "dropped"})


@dataclass(frozen=True, slots=True)
class Cleaning(Described):
    """Rules for rows that a model should not learn from as they are.

    They are applied in this order: leaks, duplicates, outliers, missing values. Each learns from
    the training rows that the rules before it have left. Test rows are never dropped, as requests
    cannot be; they are filled and clipped as a service would do with a request.

    Attributes:
        missing: what becomes of values that are not a number. `fail`: an error names the first
            row. `mean` and `median`: of the feature, in all rows. `drop`: training rows are
            dropped; test rows get the feature's mean.
        outliers: None, or what becomes of values more than `k` interquartile ranges below the
            first or above the third quartile (Tukey 1977), such as `("clip", 1.5)`. `clip`: they
            are set to the limit in all rows. `drop`: training rows are dropped; test rows stay.
            Features whose quartiles are equal have no limits. Limits of integers are rounded
            outwards.
        duplicates: whether training rows that repeat an earlier one, with its label, stay.
        leaks: whether training rows with the inputs of a test row stay.
    """

    missing: Missing = "fail"
    outliers: tuple[Beyond, float] | None = None
    duplicates: Repeated = "keep"
    leaks: Repeated = "keep"

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_choice(self.missing, get_args(Missing), "Cleaning(missing)")
        for name in ("duplicates", "leaks"):
            check_choice(getattr(self, name), get_args(Repeated), f"Cleaning({name})")
        if self.outliers is None:
            return
        try:
            action, k = self.outliers
        except (TypeError, ValueError):
            raise UsageError(
                f"Cleaning(outliers={self.outliers!r:.80})",
                "expected an action and a number of interquartile ranges, such as ('clip', 1.5)",
            ) from None
        check_choice(action, get_args(Beyond), "Cleaning(outliers): what to do")
        check_number(k, "Cleaning(outliers): interquartile ranges", above=0)
        object.__setattr__(self, "outliers", (action, float(k)))

    def __call__(self, split: Split) -> Split:
        """Apply the rules; types stay as they are.

        Raises:
            DataError: if a value is missing and may not be, or is infinite, or no training row
                is left; names the first bad row.
        """
        __tracebackhide__ = True
        seen = self._examined(split)
        if self.missing == "fail":
            for values, what in ((seen.train, "training inputs"), (seen.test, "test inputs")):
                _refuse(np.isnan(values), what, "is missing", "Cleaning(missing=...) may fill it")
        if not seen.kept.any():
            raise DataError(f"no training row of {len(seen.train)} is left by {self}")
        limits = seen.limits if self.outliers and self.outliers[0] == "clip" else None
        train, test = _clipped(seen.train[seen.kept], limits), _clipped(seen.test, limits)
        if np.isnan(train).any() or np.isnan(test).any():
            average = np.nanmedian if self.missing == "median" else np.nanmean
            filling = average(train.astype(np.float64), axis=0)
            train, test = _filled(train, filling), _filled(test, filling)
        return Split(
            Examples(train.reshape(-1, *seen.shape), split.train.labels[seen.kept]),
            Examples(test.reshape(-1, *seen.shape), split.test.labels),
        )

    def report(self, split: Split) -> CleaningReport:
        """How many rows each rule applies to; `print` shows it.

        Raises:
            DataError: if a value is infinite, or a feature has no value at all.
        """
        __tracebackhide__ = True
        seen = self._examined(split)
        return CleaningReport(
            rules=self,
            train_rows=len(seen.train),
            test_rows=len(seen.test),
            leaks=int(seen.leaks.sum()),
            duplicates=int(seen.duplicates.sum()),
            contradictions=seen.contradictions,
            outliers=_count(_beyond(seen.train, seen.limits), _beyond(seen.test, seen.limits)),
            without_range=int(np.isinf(seen.limits[0]).sum()) if seen.limits else 0,
            missing=_count(np.isnan(seen.train), np.isnan(seen.test)),
            left=int(seen.kept.sum()),
        )

    def _examined(self, split: Split) -> _Examined:
        __tracebackhide__ = True
        parts = (split.train, split.test)
        train, test = (
            one_array(part.inputs, "Cleaning").reshape(len(part.inputs), -1) for part in parts
        )
        for rows, part, name in zip((train, test), parts, ("training", "test"), strict=True):
            hint = "a value that is missing is written as not a number (nan)"
            _refuse(np.isinf(rows), f"{name} inputs", "is infinite", hint)
            check_finite(part.labels, f"{name} labels")
        common = np.result_type(train, test)
        test_keys = set(_keys(test, common))
        keys = _keys(train, common)
        leaks = np.array([key in test_keys for key in keys])
        labels = split.train.labels
        duplicates, contradictions = _repeated(keys, _keys(labels, labels.dtype))
        kept = np.ones(len(train), dtype=np.bool_)
        for rows, rule in ((leaks, self.leaks), (duplicates, self.duplicates)):
            if rule == "drop":
                kept &= ~rows
        limits = None
        _refuse_empty(train[kept])
        if self.outliers is not None and kept.any():
            action, k = self.outliers
            whole = train.dtype.kind in _WHOLE or test.dtype.kind in _WHOLE
            limits = _limits(train[kept], k, whole=whole)
            if action == "drop":
                kept &= ~_beyond(train, limits).any(axis=1)
        if self.missing == "drop":
            kept &= ~np.isnan(train).any(axis=1)
        _refuse_empty(train[kept])
        shape = one_array(split.train.inputs, "Cleaning").shape[1:]
        return _Examined(train, test, shape, leaks, duplicates, contradictions, limits, kept)


@dataclass(frozen=True, slots=True, eq=False)
class _Examined:
    """Rows before the rules act.

    Attributes:
        train, test: inputs, shape `(rows, features)`.
        shape: of one row as it was given.
        leaks, duplicates: whether a training row is one.
        contradictions: training rows with an earlier one's inputs, and another label.
        limits: the lowest and highest value of each feature that is no outlier; None without rule.
        kept: whether a training row is left.
    """

    train: NDArray[Any]
    test: NDArray[Any]
    shape: tuple[int, ...]
    leaks: NDArray[np.bool_]
    duplicates: NDArray[np.bool_]
    contradictions: int
    limits: Limits | None
    kept: NDArray[np.bool_]


def _keys(rows: NDArray[Any], dtype: DTypeLike) -> Sequence[bytes]:
    values = rows.reshape(len(rows), -1).astype(dtype)
    if values.dtype.kind == "f":
        # Equal values need equal bytes: zeros have two signs, NaNs have many payloads.
        values[values == 0] = 0.0
        values[np.isnan(values)] = np.nan
    return [row.tobytes() for row in values]


def _repeated(inputs: Sequence[bytes], labels: Sequence[bytes]) -> tuple[NDArray[np.bool_], int]:
    """Which rows repeat an earlier one with its label; how many have another label than it."""
    first: dict[bytes, bytes] = {}
    known: set[tuple[bytes, bytes]] = set()
    repeats = np.zeros(len(inputs), dtype=np.bool_)
    contradictions = 0
    for number, pair in enumerate(zip(inputs, labels, strict=True)):
        repeats[number] = pair in known
        contradictions += first.setdefault(*pair) != pair[1]
        known.add(pair)
    return repeats, contradictions


def _limits(rows: NDArray[Any], k: float, *, whole: bool) -> Limits:
    # Missing values are left out: if they were filled, the range would be too small.
    low, high = np.nanpercentile(rows.astype(np.float64), _QUARTILES, axis=0)
    reach = np.where(high > low, k * (high - low), np.inf)
    low, high = low - reach, high + reach
    return (np.floor(low), np.ceil(high)) if whole else (low, high)


def _beyond(rows: NDArray[Any], limits: Limits | None) -> NDArray[np.bool_]:
    if limits is None:
        return np.zeros(rows.shape, dtype=np.bool_)
    beyond: NDArray[np.bool_] = (rows < limits[0]) | (rows > limits[1])
    return beyond


def _clipped(rows: NDArray[Any], limits: Limits | None) -> NDArray[Any]:
    if limits is None:
        return rows
    clipped = rows.copy()
    # Value by value: a limit that no value reaches need not fit the type of the rows.
    for beyond, limit in ((rows < limits[0], limits[0]), (rows > limits[1], limits[1])):
        clipped[beyond] = np.broadcast_to(limit, rows.shape)[beyond].astype(rows.dtype)
    return clipped


def _filled(rows: NDArray[Any], filling: NDArray[np.float64]) -> NDArray[Any]:
    # Rows of integers have nothing missing, and keep their type.
    missing = np.isnan(rows)
    return np.where(missing, filling.astype(rows.dtype), rows) if missing.any() else rows


def _count(train: NDArray[np.bool_], test: NDArray[np.bool_]) -> CleaningFinding:
    return CleaningFinding(
        values=int(train.sum() + test.sum()),
        train_rows=int(train.any(axis=1).sum()),
        test_rows=int(test.any(axis=1).sum()),
    )


def _refuse(bad: NDArray[np.bool_], what: str, problem: str, hint: str) -> None:
    __tracebackhide__ = True
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows):
        first = int(rows[0])
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        raise DataError(
            f"{what}: row {first}, feature {int(np.argmax(bad[first]))} {problem}{more}\n  {hint}"
        )


def _refuse_empty(rows: NDArray[Any]) -> None:
    __tracebackhide__ = True
    empty = np.flatnonzero(np.isnan(rows).all(axis=0))
    if len(rows) and len(empty):
        raise DataError(
            f"training inputs: feature {int(empty[0])} has no value in any row that is left\n"
            "  leave the feature out, or drop fewer rows"
        )


@dataclass(frozen=True, slots=True)
class CleaningFinding:
    """Number of values of one kind, and of training and test rows with at least one."""

    values: int
    train_rows: int
    test_rows: int

    def __str__(self) -> str:
        if not self.values:
            return "none"
        return (
            f"{_counted(self.values, 'value')} in {_counted(self.train_rows, 'training row')} "
            f"and {_counted(self.test_rows, 'test row')}"
        )


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """How many rows and values the rules of a cleaning apply to.

    Attributes:
        rules: the cleaning.
        train_rows: before.
        test_rows: before and after.
        leaks: training rows with the inputs of a test row.
        duplicates: training rows that repeat an earlier one, with its label.
        contradictions: training rows with an earlier one's inputs, and another label; no rule
            removes them, since it is not known which label is right.
        outliers: values beyond the limits, if there is a rule.
        without_range: features without limits.
        missing: values that are not a number.
        left: training rows afterwards.
    """

    rules: Cleaning
    train_rows: int
    test_rows: int
    leaks: int
    duplicates: int
    contradictions: int
    outliers: CleaningFinding
    without_range: int
    missing: CleaningFinding
    left: int

    def __str__(self) -> str:
        rows = _counted(self.train_rows, "training row")
        lines = [
            f"{self.left:,} of {rows} left, {_counted(self.test_rows, 'test row')}",
            _repeated_line("leaks", self.leaks, "with the inputs of a test row", self.rules.leaks),
            _repeated_line(
                "duplicates", self.duplicates, "like an earlier one", self.rules.duplicates
            ),
        ]
        if self.contradictions:
            rows = _counted(self.contradictions, "training row")
            lines.append(f"contradictions: {rows} like an earlier one, with another label; kept")
        if self.rules.outliers is not None:
            action, k = self.rules.outliers
            lines.append(f"outliers: {self.outliers}")
            if self.outliers.values:
                lines.append(f"  beyond {k:g} interquartile ranges; {_OUTLIERS[action]}")
            if self.without_range:
                features = _counted(self.without_range, "feature")
                lines.append(f"  {features} without a range left alone")
        lines.append(f"missing: {self.missing}")
        if self.missing.values:
            lines.append(f"  {_MISSING[self.rules.missing]}")
        return "\n".join(lines)


def _repeated_line(name: str, count: int, like: str, rule: str) -> str:
    if not count:
        return f"{name}: none"
    return f"{name}: {_counted(count, 'training row')} {like}; {_REPEATED[rule]}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
