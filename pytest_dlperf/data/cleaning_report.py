"""What rules of cleaning find in rows, in words."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_dlperf.data.cleaning import Cleaning

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
class Found:
    """How much of one kind there is.

    Attributes:
        values: in all rows.
        train_rows: training rows with at least one.
        test_rows: test rows with at least one.
    """

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
    """What rules of cleaning find in a split, and do.

    Attributes:
        rules: which rules.
        train_rows: before.
        test_rows: before and after.
        leaks: training rows whose inputs are those of a test row.
        duplicates: training rows that repeat an earlier one, label and all.
        contradictions: training rows with an earlier one's inputs, and another label; no rule
            is about them, since it is not known which label is right.
        outliers: values beyond the limits, where limits are asked for.
        without_range: features that no limit is known for.
        missing: values that are not a number.
        left: training rows afterwards.
    """

    rules: Cleaning
    train_rows: int
    test_rows: int
    leaks: int
    duplicates: int
    contradictions: int
    outliers: Found
    without_range: int
    missing: Found
    left: int

    def __str__(self) -> str:
        rows = _counted(self.train_rows, "training row")
        lines = [
            f"{self.left:,} of {rows} left, {_counted(self.test_rows, 'test row')}",
            self._repeated("leaks", self.leaks, "with the inputs of a test row", self.rules.leaks),
            self._repeated(
                "duplicates", self.duplicates, "like an earlier one", self.rules.duplicates
            ),
        ]
        if self.contradictions:
            rows = _counted(self.contradictions, "training row")
            lines.append(f"contradictions: {rows} like an earlier one, with another label; kept")
        lines += [*self._outliers(), f"missing: {self.missing}"]
        if self.missing.values:
            lines.append(f"  {_MISSING[self.rules.missing]}")
        return "\n".join(lines)

    @staticmethod
    def _repeated(name: str, count: int, like: str, rule: str) -> str:
        if not count:
            return f"{name}: none"
        return f"{name}: {_counted(count, 'training row')} {like}; {_REPEATED[rule]}"

    def _outliers(self) -> list[str]:
        if self.rules.outliers is None:
            return []
        action, k = self.rules.outliers
        lines = [f"outliers: {self.outliers}"]
        if self.outliers.values:
            lines.append(f"  beyond {k:g} interquartile ranges; {_OUTLIERS[action]}")
        if self.without_range:
            lines.append(f"  {_counted(self.without_range, 'feature')} without a range left alone")
        return lines


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
