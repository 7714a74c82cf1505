"""Change points: steps in the level of a series of sessions, at a controlled false-alarm rate.

The place of a step is the best of all places, so a t-test there finds a step in most long series
without any. Here the largest standardised difference is compared with the largest of each of many
permutations, which has the same choice of places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import SD_OF_MEDIAN, Estimate, deviation

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST: Final = 5
"""Least number of values on either side of a step; fewer are outliers."""

_BEYOND: Final = 3  # draws of the permutations that reach a statistic of p = alpha
_AT_ONCE: Final = 1 << 19  # values of permutations in memory
_ROUNDING: Final = 1e-9  # permutations that differ by rounding only reach the same statistic
_ROUNDS: Final = 10  # of refining the places of all steps
_MOST_ALIKE: Final = 0.95  # with 1 no step could ever be found
_BY_CHANCE: Final = 1.5  # standard errors of an autocorrelation
_FREEDOM: Final = 5.0  # of the t-distribution by which a place is judged
_INTERVAL: Final = -math.log(1 - math.sqrt(0.95))
_Z: Final = 1.96


@dataclass(frozen=True, slots=True)
class Step:
    """One change of level.

    Attributes:
        at: likeliest index of the first value of the new level.
        low, high: ends of its 95 % confidence interval.
        change: median of the new level less that of the old, up to the neighbouring steps.
    """

    at: int
    low: int
    high: int
    change: Estimate


def find_steps(
    values: NDArray[np.float64], alpha: float, rng: np.random.Generator
) -> tuple[Step, ...]:
    """The steps in the level of a series, in order, by binary segmentation.

    The statistic is the largest standardised difference between the means of
    normal scores (van der Waerden 1952) on both sides, over all places with five values or more on
    either side. By ranks, its distribution is the same for all noise of independent values, heavy
    tails and outliers included. Its p-value is the share of random permutations that reach it
    (Fisher 1935), so a series without a step has a false one with a probability of at most
    `alpha`. Each part on either side of a step is tested alike: with k true steps there are up to
    `(k + 1) alpha` false ones.

    Consecutive sessions are often correlated, which looks like steps. So the statistic, as a
    Student's t, is divided by `sqrt((1 + r) / (1 - r))`, for an autocorrelation r above 0 of the
    residuals without the steps; for independent values that only lowers it. Of 20 simulated tests
    with four series of 60 to 90 values, looked at daily for a month with an `alpha` of 0.05 %, at
    most 0.7 had a false step: of independent normal values and of Student's t with 3 degrees of
    freedom, with an autocorrelation of 0.3 and of 0.6 (undivided: 0.3, 0.7, 5 and 18). A slow drift
    is reported as steps.

    Of series with a step of 4 % at 300 and a noise of 3 %, all were found; 98 % of them within 10
    places of it, 95 % with the heavy tails, and 92 % with an autocorrelation of 0.3.

    Args:
        values: in order of time, shape `(n,)`, finite; logarithms, where steps are ratios.
        alpha: probability of a false step in a series without any.
        rng: of the permutations.

    Raises:
        ValueError: for values that are not finite, or an alpha that is no probability.
    """
    _check(values, alpha)
    # At first as for independent values; then with the autocorrelation of the residuals.
    splits = _splits(values, 1.0, alpha, rng)
    share = _independence(values, splits)
    if splits and share < 1:
        splits = _splits(values, share, alpha, rng)
    return _steps_at(values, splits)


def find_levels(
    values: NDArray[np.float64], alpha: float, rng: np.random.Generator
) -> tuple[Step, ...]:
    """The steps of a series in which whatever lasts is a level: see `find_steps`.

    Autocorrelation is not allowed for: of a machine that is slower for a week, each such week has
    its steps.
    """
    _check(values, alpha)
    return _steps_at(values, _splits(values, 1.0, alpha, rng))


def _check(values: NDArray[np.float64], alpha: float) -> None:
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("a series of finite values was expected")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: a probability between 0 and 1")


def _steps_at(values: NDArray[np.float64], splits: list[int]) -> tuple[Step, ...]:
    edges = [0, *splits, len(values)]
    steps = []
    for before, at, after in zip(edges, splits, edges[2:], strict=False):
        # Each place is searched up to halfway to its neighbours, which keeps the order.
        least = SHORTEST if not before else (at - before) // 2
        most = after - before - (SHORTEST if after == len(values) else (after - at) // 2)
        steps.append(_placed(values[before:after], at - before, (least, most), before))
    return tuple(steps)


def _splits(
    values: NDArray[np.float64], share: float, alpha: float, rng: np.random.Generator
) -> list[int]:
    """The indices at which to split the series, in order.

    A place that was found before its neighbours were known may be wrong by some values, and then a
    second one is found next to it. So each is searched again between its neighbours, and dropped if
    it is not found there again (as Inclan and Tiao 1994 do).
    """
    known: dict[tuple[int, int], int | None] = {}

    def split(start: int, stop: int) -> int | None:
        if (start, stop) not in known:
            at = _split(values[start:stop], share, alpha, rng)
            known[start, stop] = None if at is None else start + at
        return known[start, stop]

    places: list[int] = []
    pending = [(0, len(values))]
    while pending:
        start, stop = pending.pop()
        at = split(start, stop)
        if at is not None:
            places.append(at)
            pending += [(at, stop), (start, at)]
    places.sort()
    for _ in range(_ROUNDS):
        refined: list[int] = []
        for number in range(len(places)):
            after = places[number + 1] if number + 1 < len(places) else len(values)
            at = split(refined[-1] if refined else 0, after)
            refined += [] if at is None else [at]
        if refined == places:
            break
        places = refined
    return places


def _split(
    values: NDArray[np.float64], share: float, alpha: float, rng: np.random.Generator
) -> int | None:
    """The best index to split a series in two; None if chance explains the step."""
    if len(values) < 2 * SHORTEST:
        return None
    scores = _normal_scores(values)
    differences = _differences(scores)
    shown = _worth(float(differences.max()), len(values), share)
    if not _beyond_chance(scores, shown, alpha, rng):
        return None
    return SHORTEST + int(differences.argmax())


def _worth(difference: float, values: int, share: float) -> float:
    """A standardised difference T whose Student's t is scaled by `share`.

    The deviation in T includes the step itself, which limits it, `T^2 <= n - 1`; Student's
    `t = T / sqrt(1 - T^2 / (n - 1))` grows with the step.
    """
    left = 1 - difference * difference / (values - 1)
    if left <= _ROUNDING:
        return difference
    student = share * difference / math.sqrt(left)
    return student / math.sqrt(1 + student * student / (values - 1))


def _beyond_chance(
    scores: NDArray[np.float64], shown: float, alpha: float, rng: np.random.Generator
) -> bool:
    """Whether fewer than `alpha` of permutations show as large a difference.

    It ends as soon as enough permutations have reached it, which changes no decision.
    """
    draws = math.ceil(_BEYOND / alpha) - 1
    if not shown:
        return False
    reached, drawn, rows = 0, 0, 4 * _BEYOND
    while drawn < draws:
        rows = min(rows, draws - drawn, max(1, _AT_ONCE // len(scores)))
        permuted = rng.permuted(np.tile(scores, (rows, 1)), axis=1)
        reached += int((_differences(permuted).max(axis=1) >= shown - _ROUNDING).sum())
        if reached >= _BEYOND:
            return False
        drawn += rows
        rows *= 8
    return True


def _differences(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """By place: the difference of means in standard deviations, shape `(..., n - 9)`.

    Of values with mean 0 and variance 1, drawn without replacement: the sum of the first k has the
    variance `k (n - k) / n`.
    """
    n = scores.shape[-1]
    first = np.arange(SHORTEST, n - SHORTEST + 1)
    sums = np.cumsum(scores, axis=-1)[..., first - 1]
    differences: NDArray[np.float64] = np.abs(sums) / np.sqrt(first * (n - first) / n)
    return differences


def _normal_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`z(rank / (n + 1))` with mean 0 and variance 1; equal values share the mean of their ranks.

    All 0 where all values are equal.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    scores = ndtri(rankdata(values) / (len(values) + 1))
    scores -= scores.mean()
    spread = float(scores.std(ddof=1))
    standardised: NDArray[np.float64] = scores / spread if spread else np.zeros(len(scores))
    return standardised


def _independence(values: NDArray[np.float64], splits: list[int]) -> float:
    """The factor by which autocorrelation lowers the t of a difference of means, from 0 to 1.

    `sqrt((1 - r) / (1 + r))`, with the autocorrelation r of the residuals without the steps; 1
    where that is not above 0. The steps were placed where they take most of it away, and short
    series show less than they have (Kendall 1954). So an r beyond chance, 1.5 standard errors
    `1 / sqrt(n)`, is raised by `(1 + 3 r + 2 k) / n` for k steps and half a standard error. One
    that may be chance is not, so that independent values keep their steps.
    """
    n = len(values)
    if n < 2 * SHORTEST:
        return 1.0
    parts = np.split(values, splits)
    left = _normal_scores(np.concatenate([part - np.median(part) for part in parts]))
    alike, error = float(left[1:] @ left[:-1]) / (n - 1), 1 / math.sqrt(n)
    if alike > _BY_CHANCE * error:
        alike += (1 + 3 * alike + 2 * len(splits)) / n + error / 2
    alike = min(_MOST_ALIKE, max(0.0, alike))
    return math.sqrt((1 - alike) / (1 + alike))


def _placed(values: NDArray[np.float64], at: int, within: tuple[int, int], offset: int) -> Step:
    """The likeliest place of one step, its interval, and its size.

    By the likelihood of Student's t with 5 degrees of freedom around the medians of both sides.
    The likelihood at the best place exceeds that at the true one by the larger of two independent
    exponential variables (Hinkley 1970; Siegmund 1988): `-log(1 - sqrt(0.95)) = 3.68` covers 95 %.
    """
    old, new = float(np.median(values[:at])), float(np.median(values[at:]))
    scale = _scale(values, at, old, new)
    low = high = at
    if scale:
        nearer = _log_t((values - new) / scale) - _log_t((values - old) / scale)
        likelihood = np.cumsum(nearer[::-1])[::-1][within[0] : within[1] + 1]
        at = within[0] + int(likelihood.argmax())
        as_likely = np.flatnonzero(likelihood >= likelihood.max() - _INTERVAL)
        low, high = (within[0] + int(end) for end in (as_likely[0], as_likely[-1]))
        old, new = float(np.median(values[:at])), float(np.median(values[at:]))
        scale = _scale(values, at, old, new)
    reach = _Z * SD_OF_MEDIAN * scale * math.sqrt(1 / at + 1 / (len(values) - at))
    change = Estimate(new - old, new - old - reach, new - old + reach)
    return Step(at + offset, low + offset, high + offset, change)


def _scale(values: NDArray[np.float64], at: int, old: float, new: float) -> float:
    left = np.concatenate([values[:at] - old, values[at:] - new])
    # Where most values are equal, the median deviation is 0; the others show the scale.
    return deviation(np.abs(left)) or float(left.std())


def _log_t(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of the density, up to a constant."""
    density: NDArray[np.float64] = -(_FREEDOM + 1) / 2 * np.log1p(x * x / _FREEDOM)
    return density
