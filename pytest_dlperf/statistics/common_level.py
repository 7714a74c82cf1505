"""What the curves of many tests share: the course of the machine, apart from that of each test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.change_points import SHORTEST, Step, find_levels, find_steps
from pytest_dlperf.statistics.estimate import SD_OF_MEDIAN, deviation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FEWEST_OTHERS: Final = 3
"""Of fewer other tests in a run, the machine's part cannot be told from one test's own."""

_ROUNDS: Final = 8  # of the polish; it has settled long before
_MOST_LOADING: Final = 5.0  # a tail grows faster than the machine slows down
_LEAST_RELIABLE: Final = 0.5  # share of the level's variance that is not noise
_MOVED: Final = 0.5  # of a step's size, for one to have it too
_OUTLYING: Final = 4.0  # standard deviations; single bad runs must not decide the loading


@dataclass(frozen=True, slots=True)
class CommonLevel:
    """What the other tests of each run share.

    Attributes:
        level: log cost less that of the usual run, shape `(runs,)`; NaN where too few of them were
            measured.
        residuals: of each test, its curves less their own levels, shape `(tests, runs)`; NaN where
            it was not measured.
        steps: of `level`.
    """

    level: NDArray[np.float64]
    residuals: NDArray[np.float64]
    steps: tuple[Step, ...] = ()

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the level of each run is known, shape `(runs,)`."""
        return np.isfinite(self.level)

    @property
    def enough(self) -> bool:
        """Whether it is known of at least half of the runs, and of enough to find a step."""
        known = int(self.known.sum())
        return known >= max(2 * SHORTEST, len(self.level) / 2)


def common_level(
    curves: Sequence[NDArray[np.float64]], alpha: float, rng: np.random.Generator
) -> CommonLevel:
    """The median of all tests in each run, after each curve's own level is taken off.

    By median polish (Tukey 1977), in which runs may lack tests and tests may begin late. A test has
    one vote, however many curves: the median of its curves.

    Args:
        curves: of each other test, log costs of shape `(curves, runs)`, NaN where not measured.
        alpha: false alarm rate of its steps.
        rng: of their permutations.
    """
    if not curves:
        raise ValueError("the curves of at least one other test are expected")
    level = np.zeros(curves[0].shape[1])
    residuals = np.empty((len(curves), len(level)))
    for _ in range(_ROUNDS):
        for number, own in enumerate(curves):
            less = own - level
            residuals[number] = _median(own - _median(less, axis=1)[:, None], axis=0)
        before, level = level, _median(residuals, axis=0)
        level = np.where(np.isfinite(level), level, 0.0)
        if np.allclose(before, level, atol=1e-6):
            break
    measured = np.isfinite(residuals).sum(axis=0)
    level = np.where(measured >= FEWEST_OTHERS, level, math.nan)
    found = CommonLevel(level, residuals)
    if not found.enough:
        return found
    at = np.flatnonzero(found.known)
    steps = tuple(_moved(step, at) for step in find_levels(level[at], alpha, rng))
    return CommonLevel(level, residuals, steps)


def own_steps(
    costs: NDArray[np.float64], common: CommonLevel, alpha: float, rng: np.random.Generator
) -> tuple[Step, ...]:
    """The steps of a curve less its share of what other tests show in the same runs.

    The share, from 0 to 5, is that of least squares around the curve's own steps: a rate of
    arrivals does not follow the machine, a tail follows it more than once. A step is not the
    curve's own where the others step at that time and the curve itself does not.

    Args:
        costs: of the curve, shape `(runs,)`, finite.
        common: of the others, `enough` of it known.
        alpha: probability of a false step in a curve without any.
        rng: of the permutations.
    """
    at = np.flatnonzero(common.known)
    values, level = costs[at], common.level[at]
    noise = _noise(common)
    # A speed follows the machine; a slope on the level is led astray by steps of the curve's own,
    # one on differences by little evidence. The right one leaves the fewest steps.
    later, sooner = slice(SHORTEST, None), slice(None, -SHORTEST)
    candidates = (
        1.0,
        _slope(_centred(values, []), _centred(level, []), noise),
        _slope(values[later] - values[sooner], level[later] - level[sooner], 2 * noise),
    )
    tried = [(find_steps(values - share * level, alpha, rng), share) for share in candidates]
    steps, loading = min(tried, key=lambda found: len(found[0]))
    if steps:
        places = [step.at for step in steps]
        again = _slope(_centred(values, places), _centred(level, places), noise)
        refined = find_steps(values - again * level, alpha, rng)
        if len(refined) <= len(steps):
            steps, loading = refined, again
    own = tuple(_moved(step, at) for step in steps)
    return tuple(step for step in own if _is_own(step, own, loading, costs, common))


def shared_by(step: Step, costs: NDArray[np.float64], common: CommonLevel) -> tuple[int, int]:
    """How many tests changed by at least half of a common step's size, and of how many.

    Args:
        step: of `common`.
        costs: of the curve that is not among the others.
        common: the others.
    """
    before, after = _around(step, [other.at for other in common.steps], len(costs))
    tests = np.vstack([common.residuals, costs])
    moved = _median(tests[:, after], axis=1) - _median(tests[:, before], axis=1)
    moved = moved[np.isfinite(moved)]
    return int((moved / step.change.value >= _MOVED).sum()), len(moved)


def _is_own(
    step: Step,
    steps: Sequence[Step],
    loading: float,
    costs: NDArray[np.float64],
    common: CommonLevel,
) -> bool:
    """Whether the curve itself has moved, and beside most of the other tests.

    Where few tests are left, one that steps alone moves the level, and in the difference every
    other curve the other way. Where most of them step, one that does not seems to.
    """
    before, after = _around(step, [s.at for s in steps], len(costs))
    beside = costs - loading * common.residuals
    moved = _median(beside[:, after], axis=1) - _median(beside[:, before], axis=1)
    known = np.isfinite(moved)
    if (moved[known] / step.change.value >= _MOVED).mean() <= 0.5:  # noqa: PLR2004 - half of them
        return False
    beneath = [other for other in common.steps if other.low <= step.high and step.low <= other.high]
    if any(abs(step.change.value) < _MOVED * abs(other.change.value) for other in beneath):
        return False  # how unevenly tests share one
    opposite = [other for other in beneath if other.change.value * step.change.value < 0]
    if not opposite:
        return True
    places = [*(s.at for s in steps), *(s.at for s in common.steps if s not in opposite)]
    before, after = _around(step, places, len(costs))
    change = float(np.median(costs[after]) - np.median(costs[before]))
    return change / step.change.value >= _MOVED


def _around(step: Step, places: Sequence[int], runs: int) -> tuple[slice, slice]:
    """The runs before and after a step, up to the nearest other places."""
    start = max((at for at in places if at < step.at), default=0)
    stop = min((at for at in places if at > step.at), default=runs)
    return slice(start, step.at), slice(step.at, stop)


def _slope(y: NDArray[np.float64], x: NDArray[np.float64], noise: float) -> float:
    """The slope of y on x through 0, by least squares without outliers.

    The noise of x, of this variance, would flatten it (Fuller 1987: Measurement Error Models);
    where it is most of what x shows, only half of that is made up for.
    """
    spread = float(x @ x)
    if not spread:
        return 1.0
    left = np.abs(y - float(x @ y) / spread * x)
    usual = left <= _OUTLYING * deviation(left)
    if float(x[usual] @ x[usual]):
        y, x = y[usual], x[usual]
        spread = float(x @ x)
    reliable = max(_LEAST_RELIABLE, 1 - noise * len(x) / spread)
    return min(_MOST_LOADING, max(0.0, float(x @ y) / spread / reliable))


def _centred(values: NDArray[np.float64], places: list[int]) -> NDArray[np.float64]:
    """Values less the mean of their part."""
    return np.concatenate([part - part.mean() for part in np.split(values, places)])


def _noise(common: CommonLevel) -> float:
    """The variance of the level by what the tests of a run differ by."""
    apart = np.abs(common.residuals - common.level)
    apart = apart[np.isfinite(apart)]
    tests = float(np.median(np.isfinite(common.residuals).sum(axis=0)[common.known]))
    return (SD_OF_MEDIAN * deviation(apart)) ** 2 / tests


def _moved(step: Step, at: NDArray[np.intp]) -> Step:
    """A step of some of the runs, with indices of all."""
    return Step(int(at[step.at]), int(at[step.low]), int(at[step.high]), step.change)


def _median(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """`nanmedian`, without its warning where there is nothing."""
    empty = ~np.isfinite(values).any(axis=axis)
    filled = np.where(np.expand_dims(empty, axis), 0.0, values)
    medians: NDArray[np.float64] = np.nanmedian(filled, axis=axis)
    return np.where(empty, math.nan, medians)
