"""Main effects: what each of several changes was worth, by ordinary least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ESTIMABLE: Final = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class MainEffects:
    """Coefficients with their intervals.

    Attributes:
        values: shape `(changes,)`.
        reach: how far the interval of each goes to either side; not a number where there is none.
        told: whether the trials tell a coefficient and its interval.
        freedom: degrees of freedom of the residuals.
    """

    values: NDArray[np.float64]
    reach: NDArray[np.float64]
    told: NDArray[np.bool_]
    freedom: int


def main_effects(changed: NDArray[np.bool_], measured: NDArray[np.float64]) -> MainEffects:
    """Least squares on an indicator for each change, with Student's interval.

    A coefficient can be told if its unit vector lies in the row space of the design (Searle 1971,
    "Linear Models", section 5.4), and its interval if a trial is left for the residuals.

    Args:
        changed: whether each trial had each change, shape `(trials, changes)`.
        measured: of each trial, shape `(trials,)`.
    """
    from scipy.special import stdtrit

    trials, changes = changed.shape
    design = np.column_stack([np.ones(trials), changed.astype(float)])
    rank = int(np.linalg.matrix_rank(design)) if trials else 0
    freedom = trials - rank
    if freedom < 1:
        unknown = np.full(changes, np.nan)
        return MainEffects(unknown, unknown, np.zeros(changes, bool), max(0, freedom))
    inverse = np.linalg.pinv(design)
    coefficients = inverse @ measured
    residual = measured - design @ coefficients
    variance = float(residual @ residual) / freedom
    spread = np.sqrt(variance * np.einsum("ij,ij->i", inverse, inverse))
    quantile = float(stdtrit(freedom, 1 - (1 - CONFIDENCE) / 2))
    off = np.abs(inverse @ design - np.eye(changes + 1)).max(axis=1)
    return MainEffects(coefficients[1:], quantile * spread[1:], off[1:] < _ESTIMABLE, freedom)
