"""Shares of right answers: one model on some rows, and two models on the same rows.

A loss is what the candidate has less of than the base, above 0 when it is worse.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.statistics.estimate import Decision


_HALVINGS: Final = 40
_LEAST_VARIANCE: Final = 1e-300  # where no row differs and the loss is 0: 0 / 0 is to be 0


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(right: float, rows: float, confidence: float = CONFIDENCE) -> Estimate:
    """The share of right answers with Wilson's score interval (Wilson 1927).

    A row that is right only sometimes counts in part in `right`, dependent rows in `rows` (above
    0).
    """
    share = right / rows
    z = _quantile(confidence)
    z2 = z * z
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    reach = z / (1 + z2 / rows) * (share * (1 - share) / rows + z2 / (4 * rows * rows)) ** 0.5
    return Estimate(
        share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))
    )


def mcnemar(only_base: int, only_candidate: int) -> float:
    """McNemar's exact one-sided p-value that the candidate is worse on the same rows.

    `P[Bin(b + c, 1/2) >= b]` (McNemar 1947, with the exact binomial): where neither model is
    better, each row that one alone has right is equally likely the base's (b) or the candidate's
    (c). 1 where the models differ on no row.

    >>> round(mcnemar(5, 1), 6), mcnemar(0, 0)
    (0.109375, 1.0)
    """
    from scipy.special import bdtr

    differ = only_base + only_candidate
    return float(bdtr(only_candidate, differ, 0.5)) if differ else 1.0


def paired_loss(
    only_base: float, only_candidate: float, rows: int, confidence: float = CONFIDENCE
) -> Estimate:
    """The loss of accuracy on the same rows, at least one, with Bonett and Price's interval.

    The interval is the adjusted Wald one for paired proportions (Bonett and Price 2012): with
    `p1 = (b + 1) / (n + 2)` and `p2 = (c + 1) / (n + 2)`,
    `(p1 - p2) +- z sqrt((p1 + p2 - (p1 - p2)^2) / (n + 2))`. `b` rows are right in the base alone,
    `c` in the candidate alone. One end of the interval errs half as often as both.
    """
    first, second = (only_base + 1) / (rows + 2), (only_candidate + 1) / (rows + 2)
    middle = first - second
    reach = _quantile(confidence) * ((first + second - middle * middle) / (rows + 2)) ** 0.5
    value = (only_base - only_candidate) / rows
    return Estimate(value, min(value, middle - reach), max(value, middle + reach))


def accuracy_decision(  # noqa: PLR0913 - three counts, and two lines with an error each
    only_base: int,
    only_candidate: int,
    rows: int,
    *,
    allowed: float,
    line: float,
    alpha: float,
    beta: float,
) -> Decision | None:
    """Decide an accuracy budget by the answers of two models on the same rows.

    FAIL, where a loss beyond `allowed` is proven at `alpha`. Beyond 0, McNemar's exact test proves
    it. Beyond any other loss, Bonett and Price's one-sided end and Tango's score test (Tango 1998)
    both have to, and where a loss is allowed McNemar's too. PASS, where these two exclude a loss of
    `line` (at least `allowed`) at `beta`. The interval's end alone errs too often where nearly
    every row that differs is a loss: for a `beta` of 5 % in up to 9.7 % of cases, and with the
    score test in up to 5.8 % (enumerated for 100 to 1,000 rows and lines of 0.5 to 5 points; at 1 %
    and below both together keep to it).

    Where both models have the same rows right, nothing was lost on these, however few they are:
    PASS for any `line` above 0. That says little of rows beyond these: a model that loses just
    `line` of them and wins none passes so with a probability of `(1 - line)^rows`.

    Losses are shares of rows, below 0 where a gain is demanded; both rates are below a half. None
    where neither is proven, as without rows.
    """
    if not rows:
        return None
    if _is_worse(only_base, only_candidate, rows, allowed, alpha):
        return "FAIL"
    if only_base == only_candidate == 0 and line > 0:
        return "PASS"
    # A loss below the line is a gain of more than minus the line, for the other side.
    return "PASS" if _exceeds(only_candidate, only_base, rows, -line, beta) else None


def excluded_loss(only_base: int, only_candidate: int, rows: int, beta: float) -> float:
    """The smallest loss that `accuracy_decision` excludes: it passes any `line` above it.

    In shares of rows, from -1 to 1; 1 without rows. The arguments are those of the decision.
    """
    if not rows:
        return 1.0
    if only_base == only_candidate == 0:
        return 0.0
    return _bisected(lambda line: _exceeds(only_candidate, only_base, rows, -line, beta))


def proven_loss(only_base: int, only_candidate: int, rows: int, alpha: float) -> float:
    """The largest loss that `accuracy_decision` proves: it fails any `allowed` below it.

    In shares of rows, from -1 to 1; -1 without rows. The arguments are those of the decision.
    """
    if not rows:
        return -1.0
    return -_bisected(lambda gain: _is_worse(only_base, only_candidate, rows, 0.0 - gain, alpha))


def _bisected(holds: Callable[[float], bool]) -> float:
    """The least share from -1 to 1 from which on a condition holds; 1 if it never does."""
    low, high = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _is_worse(only_base: int, only_candidate: int, rows: int, allowed: float, alpha: float) -> bool:
    if allowed >= 0 and mcnemar(only_base, only_candidate) >= alpha:
        return False
    return allowed == 0 or _exceeds(only_base, only_candidate, rows, allowed, alpha)


def _exceeds(only_base: int, only_candidate: int, rows: int, loss: float, error: float) -> bool:
    """Whether a loss beyond `loss` is proven, by interval and by score test."""
    z = _quantile(1 - 2 * error)
    low = paired_loss(only_base, only_candidate, rows, 1 - 2 * error).low
    return low > loss and _score(only_base, only_candidate, rows, loss) > z


def _score(only_base: int, only_candidate: int, rows: int, loss: float) -> float:
    """Distance of the observed loss from `loss`, in standard deviations under it (Tango 1998).

    These take the likeliest share of rows that the candidate alone has right, given that loss: the
    larger root of a quadratic equation.
    """
    b, c, n = only_base, only_candidate, rows
    linear = (2 * n - b + c) * loss - b - c
    root = math.sqrt(max(0.0, linear * linear + 8 * n * c * loss * (1 - loss)))
    likeliest = (root - linear) / (4 * n)
    variance = n * (2 * likeliest + loss * (1 - loss))
    return (b - c - n * loss) / math.sqrt(max(variance, _LEAST_VARIANCE))


def are_bits(scores: NDArray[np.float64]) -> bool:
    """Whether all scores are 0 or 1, so that each row is right or wrong."""
    return bool(np.isin(scores, (0.0, 1.0)).all())
