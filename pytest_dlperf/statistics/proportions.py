"""Shares of right answers: one model on some rows, two models on the same rows, and many seeds.

A loss is what the candidate has less of than the base, above 0 when it is worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.statistics.estimate import Decision


_ALL_FLIPS: Final = 12  # seeds whose 4,096 flips of signs are all enumerated
_SOME_FLIPS: Final = 9999
_CLOSE: Final = 1e-9  # of the ends of an interval
_ROUNDING: Final = 1e-12  # relative: sums that differ by less are tied
_FEWEST_SEEDS: Final = 2
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
    score test in up to 5.8 % (enumerated for 100 to 1,000 rows and lines of 0.5 to 5 points).

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


def accuracy_interval(
    only_base: int, only_candidate: int, rows: int, *, alpha: float, beta: float
) -> Estimate:
    """The loss with the ends by which `accuracy_decision` decides; all losses without rows.

    `low` is the largest loss that is proven at `alpha`, and `high` the smallest that is excluded at
    `beta`: 0 where both models have the same rows right.
    """
    counts = only_base, only_candidate, rows
    if not rows:
        return Estimate(0.0, -1.0, 1.0)
    value = (only_base - only_candidate) / rows
    low = _turn(lambda loss: not _is_worse(*counts, loss, alpha), -1.0, value)
    if only_base == only_candidate == 0:
        return Estimate(0.0, low, 0.0)
    excluded = only_candidate, only_base, rows
    high = _turn(lambda loss: _exceeds(*excluded, -loss, beta), value, 1.0)
    return Estimate(value, low, high)


def _turn(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where something begins to hold, between two losses; `high` where it never does."""
    while high - low > _CLOSE:
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


@dataclass(frozen=True, slots=True)
class SeedComparison:
    """The accuracy of models that were trained anew, with the same seeds on both sides.

    Attributes:
        loss: mean loss over seeds, with its t-interval.
        p_value: one-sided, that the candidate is worse.
        floor: the smallest p-value that this number of seeds can have.
    """

    loss: Estimate
    p_value: float
    floor: float


def paired_seeds(base: NDArray[np.float64], candidate: NDArray[np.float64]) -> SeedComparison:
    """Compare accuracies seed by seed; both sides have shape `(k,)`, k >= 2, in the same order.

    The p-value is that of the sign-flip test (Fisher 1935): where the sides do not differ, each
    seed's difference is as likely to have the other sign, so it is the share of all `2^k` flips
    with as large a sum. Beyond 12 seeds it comes from scipy's permutation test, which draws flips,
    always the same ones, where there are more than 9,999. The interval is Student's, at 95 %.

    Raises:
        ValueError: for fewer than two seeds, sides of unequal length, or what is no number.
    """
    if base.shape != candidate.shape or base.ndim != 1:
        raise ValueError(
            f"accuracies of shapes {base.shape} and {candidate.shape} cannot be paired: "
            "expected one for each seed, with the same seeds on both sides"
        )
    seeds = len(base)
    if seeds < _FEWEST_SEEDS:
        raise ValueError(
            f"{seeds} seed does not show what seeds differ by: expected at least {_FEWEST_SEEDS}"
        )
    losses = base - candidate
    if not np.isfinite(losses).all():
        raise ValueError("an accuracy is not finite: expected a share for each seed")
    p_value, floor = _sign_flips(losses) if seeds <= _ALL_FLIPS else _drawn_flips(losses)
    return SeedComparison(_student(losses), p_value, floor)


def _sign_flips(losses: NDArray[np.float64]) -> tuple[float, float]:
    """The p-value over all flips of signs, and the smallest that there is."""
    seeds = len(losses)
    flipped = np.arange(2**seeds)[:, np.newaxis] >> np.arange(seeds) & 1
    sums = (1 - 2 * flipped) @ losses
    tied = _ROUNDING * float(np.abs(losses).sum())
    return float(np.mean(sums >= sums[0] - tied)), 2.0**-seeds


def _drawn_flips(losses: NDArray[np.float64]) -> tuple[float, float]:
    from scipy.stats import permutation_test

    tested = permutation_test(
        (losses,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=_SOME_FLIPS,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(tested.pvalue), max(2.0 ** -len(losses), 1 / (_SOME_FLIPS + 1))


def _student(values: NDArray[np.float64]) -> Estimate:
    """The mean with Student's interval (Student 1908)."""
    from scipy.special import stdtrit

    n, mean = len(values), float(values.mean())
    reach = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - reach, mean + reach)


def are_bits(scores: NDArray[np.float64]) -> bool:
    """Whether all scores are 0 or 1, so that each row is right or wrong."""
    return bool(np.isin(scores, (0.0, 1.0)).all())
