"""Label noise: rows whose label is probably wrong, by confident learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHOWN: Final = 10
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row whose label is probably wrong.

    Attributes:
        row: its number, from 0.
        given: its label.
        likely: the label that it probably should have.
        given_share, likely_share: how probable the two are, to a model that has not seen the row.
    """

    row: int
    given: int
    likely: int
    given_share: float
    likely_share: float


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """What is probably wrong with the labels of some rows; `print` shows it.

    Attributes:
        rows: looked at.
        accuracy: of the model whose word this is, on rows that it had not seen: what it gets
            wrong by itself is among the suspects too.
        rate: the share of wrong labels, estimated over all rows.
        suspects: the most suspicious one first.
    """

    rows: int
    accuracy: float
    rate: float
    suspects: tuple[Suspect, ...]

    def __str__(self) -> str:
        share = format_quantity(self.rate, "share")
        accuracy = format_quantity(self.accuracy, "share")
        found = f"{len(self.suspects):,} of {self.rows:,} rows are suspect"
        lines = [
            f"labels: {found}; about {share} of all labels are wrong",
            f"  by a model that gives {accuracy} of rows it has not seen their label",
        ]
        lines += [
            f"  row {one.row}: label {one.given} ({one.given_share:.0%}), "
            f"likely {one.likely} ({one.likely_share:.0%})"
            for one in self.suspects[:_SHOWN]
        ]
        if len(self.suspects) > _SHOWN:
            lines.append(f"  and {len(self.suspects) - _SHOWN:,} more in .suspects")
        return "\n".join(lines)


def confident_learning(
    shares: NDArray[np.float64], given: NDArray[np.int64], classes: NDArray[Any]
) -> LabelNoise:
    """Which labels a model that has not seen the rows does not believe.

    A row counts as of a class if its probability there is at least what rows with that label
    have on average; of several such classes, the most probable one counts. Rows that count as of
    another class than their label says are suspects; how many labels are wrong is estimated from
    the same counts, each label's scaled to all rows that have it (Northcutt, Jiang and Chuang
    2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", section 3.1).

    Args:
        shares: out-of-sample probability of each class, shape `(rows, classes)`.
        given: number of the class that the label says, shape `(rows,)`; each class has a row.
        classes: the label of each class, whole numbers, shape `(classes,)`.
    """
    rows = np.arange(len(given))
    each = np.arange(len(classes))
    self_shares = shares[rows, given]
    thresholds = np.array([self_shares[given == one].mean() for one in each])
    confident = np.where(shares >= thresholds - _ROUNDING, shares, -np.inf)
    likely = confident.argmax(axis=1)
    counted = np.isfinite(confident.max(axis=1))
    joint = np.zeros((len(classes), len(classes)))
    np.add.at(joint, (given[counted], likely[counted]), 1)
    correct = np.diag(joint) / joint.sum(axis=1)
    rate = 1 - float(correct @ np.bincount(given, minlength=len(classes))) / len(given)
    suspects = np.flatnonzero(counted & (likely != given))
    margins = self_shares[suspects] - shares[suspects, likely[suspects]]
    return LabelNoise(
        rows=len(given),
        accuracy=float((shares.argmax(axis=1) == given).mean()),
        rate=max(0.0, rate),
        suspects=tuple(
            Suspect(
                row=int(row),
                given=int(classes[given[row]]),
                likely=int(classes[likely[row]]),
                given_share=float(self_shares[row]),
                likely_share=float(shares[row, likely[row]]),
            )
            for row in suspects[np.argsort(margins, kind="stable")]
        ),
    )
