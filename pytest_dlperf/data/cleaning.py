"""Cleaning: missing values, outliers, and rows that occur twice."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np

from pytest_dlperf._values import Described, check_choice, check_number
from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.data.feature_tables import beside, refuse, refuse_empty, tables_of
from pytest_dlperf.data.numeric_leaves import numeric_leaves, paths_given
from pytest_dlperf.data.repeated_rows import keys_of, repeated
from pytest_dlperf.data.rows import check_finite
from pytest_dlperf.errors import DataError, UsageError
from pytest_dlperf.ragged import PaddedRows
from pytest_dlperf.trees import as_tree, leaves, taken, with_leaves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.data.feature_tables import FeatureTable
    from pytest_dlperf.trees import Rows


Missing: TypeAlias = Literal["fail", "drop", "mean", "median"]
Beyond: TypeAlias = Literal["clip", "drop"]
Repeated: TypeAlias = Literal["keep", "drop"]

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

    A row that is dropped is dropped from all inputs and labels. Text and rows of many lengths
    (`Ragged`) count in leaks and duplicates; their values stay as they are.

    The rules are applied in this order: leaks, duplicates, outliers, missing values. Each learns
    from the training rows that the rules before it have left. Test rows are never dropped, as
    requests cannot be; they are filled and clipped as a service would do with a request.

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
        leaves: paths of the inputs in which outliers are looked for, such as `("age",)`. None is
            for one array, and for the floats of a tree, whose integers may be ids.
    """

    missing: Missing = "fail"
    outliers: tuple[Beyond, float] | None = None
    duplicates: Repeated = "keep"
    leaks: Repeated = "keep"
    leaves: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_choice(self.missing, get_args(Missing), "Cleaning(missing)")
        for name in ("duplicates", "leaks"):
            check_choice(getattr(self, name), get_args(Repeated), f"Cleaning({name})")
        object.__setattr__(self, "leaves", paths_given(self.leaves, "Cleaning(leaves)"))
        if self.outliers is None:
            if self.leaves is not None:
                raise UsageError(
                    f"Cleaning(leaves={self.leaves!r:.80}) without outliers=",
                    "they are where outliers are looked for; all other rules are for all inputs",
                )
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
            for table in seen.tables:
                for values, name in ((table.train, "training"), (table.test, "test")):
                    hint = "Cleaning(missing=...) may fill it"
                    refuse(np.isnan(values), table.named(name), "is missing", hint)
        if not seen.kept.any():
            raise DataError(f"no training row of {len(seen.kept)} is left by {self}")
        clips = self.outliers is not None and self.outliers[0] == "clip"
        cleaned = {
            table.path: self._cleaned(table, seen.kept, clips=clips) for table in seen.tables
        }
        train = taken(split.train.inputs, seen.kept)
        return Split(
            Examples(
                _replaced(train, {path: parts[0] for path, parts in cleaned.items()}),
                taken(split.train.labels, seen.kept),
            ),
            Examples(
                _replaced(split.test.inputs, {path: parts[1] for path, parts in cleaned.items()}),
                split.test.labels,
            ),
        )

    def report(self, split: Split) -> CleaningReport:
        """How many rows each rule applies to; `print` shows it.

        Raises:
            DataError: if a value is infinite, or a feature has no value at all.
        """
        __tracebackhide__ = True
        seen = self._examined(split)
        searched = [table for table in seen.tables if table.limits is not None]
        return CleaningReport(
            rules=self,
            train_rows=len(split.train.inputs),
            test_rows=len(split.test.inputs),
            leaks=int(seen.leaks.sum()),
            duplicates=int(seen.duplicates.sum()),
            contradictions=seen.contradictions,
            outliers=_count(
                beside([table.beyond(table.train) for table in searched], split.train.inputs),
                beside([table.beyond(table.test) for table in searched], split.test.inputs),
            ),
            without_range=sum(table.limits.without_range for table in searched if table.limits),
            not_searched=seen.not_searched,
            missing=_count(
                beside([np.isnan(table.train) for table in seen.tables], split.train.inputs),
                beside([np.isnan(table.test) for table in seen.tables], split.test.inputs),
            ),
            left=int(seen.kept.sum()),
        )

    def _examined(self, split: Split) -> _Examined:
        __tracebackhide__ = True
        tables = tables_of(split)
        for part, name in ((split.train, "training"), (split.test, "test")):
            check_finite(part.labels, f"{name} labels")
        keys, test_keys = keys_of(split.train.inputs, split.test.inputs)
        known = set(test_keys)
        leaks = np.array([key in known for key in keys])
        duplicates, contradictions = repeated(keys, *keys_of(split.train.labels))
        kept = np.ones(len(keys), dtype=np.bool_)
        for rows, rule in ((leaks, self.leaks), (duplicates, self.duplicates)):
            if rule == "drop":
                kept &= ~rows
        refuse_empty(tables, kept)
        not_searched: tuple[str, ...] = ()
        if self.outliers is not None:
            searched = self._searched(split.train.inputs)
            not_searched = tuple(table.path for table in tables if table.path not in searched)
            action, k = self.outliers
            if kept.any():
                tables = tuple(
                    table.limited(kept, k) if table.path in searched else table for table in tables
                )
            if action == "drop":
                for table in tables:
                    kept &= ~table.beyond(table.train).any(axis=1)
        if self.missing == "drop":
            for table in tables:
                kept &= ~np.isnan(table.train).any(axis=1)
        refuse_empty(tables, kept)
        return _Examined(tables, leaks, duplicates, contradictions, not_searched, kept)

    def _searched(self, inputs: Rows) -> frozenset[str]:
        """The paths of the leaves in which outliers are looked for."""
        __tracebackhide__ = True
        chosen = numeric_leaves(inputs, self.leaves, "Cleaning(outliers)")
        ragged = {
            path for path, leaf in leaves(as_tree(inputs)) if isinstance(leaf, PaddedRows)
        } & chosen
        if ragged and (self.leaves is not None or ragged == chosen):
            raise DataError(
                f"Cleaning(outliers): {min(ragged) or 'inputs'}: rows of many lengths (Ragged) "
                "have no features, which limits could be learnt for\n"
                "  clip their values before, or name other inputs by leaves="
            )
        return chosen - ragged

    def _cleaned(
        self, table: FeatureTable, kept: NDArray[np.bool_], *, clips: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Training and test rows of a leaf, clipped and filled."""
        train, test = table.train[kept], table.test
        if clips and table.limits is not None:
            train, test = table.limits.clipped(train), table.limits.clipped(test)
        if np.isnan(train).any() or np.isnan(test).any():
            average = np.nanmedian if self.missing == "median" else np.nanmean
            filling = average(train.astype(np.float64), axis=0)
            train, test = _filled(train, filling), _filled(test, filling)
        return train.reshape(-1, *table.shape), test.reshape(-1, *table.shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Examined:
    """Rows before the rules act.

    Attributes:
        tables: the leaves of numbers of one shape.
        leaks, duplicates: whether a training row is one.
        contradictions: training rows with an earlier one's inputs, and another label.
        not_searched: paths of the tables in which no outliers are looked for, if there is a rule.
        kept: whether a training row is left.
    """

    tables: tuple[FeatureTable, ...]
    leaks: NDArray[np.bool_]
    duplicates: NDArray[np.bool_]
    contradictions: int
    not_searched: tuple[str, ...]
    kept: NDArray[np.bool_]


def _replaced(rows: Rows, new: dict[str, NDArray[Any]]) -> Rows:
    return with_leaves(rows, (new.get(path, leaf) for path, leaf in leaves(as_tree(rows))))


def _filled(rows: NDArray[Any], filling: NDArray[np.float64]) -> NDArray[Any]:
    # Rows of integers have nothing missing, and keep their type.
    missing = np.isnan(rows)
    return np.where(missing, filling.astype(rows.dtype), rows) if missing.any() else rows


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


def _count(train: NDArray[np.bool_], test: NDArray[np.bool_]) -> CleaningFinding:
    """What was found, from which values it is: shape `(rows, features)` each."""
    return CleaningFinding(
        values=int(train.sum() + test.sum()),
        train_rows=int(train.any(axis=1).sum()),
        test_rows=int(test.any(axis=1).sum()),
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
        not_searched: paths of numbers in which no outliers are looked for, if there is a rule.
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
    not_searched: tuple[str, ...]
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
            if self.not_searched:
                lines.append(f"  not looked for in {', '.join(self.not_searched)}: see leaves=")
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
