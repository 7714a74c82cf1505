"""Effects: the change in each metric by each value of a knob, against its default.

Where trials differ in this knob alone, the effect is the mean of their differences, weighted by
their errors. Else it is a main effect of all trials together, by least squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.judge.contrasts import lost_on_rows
from pytest_dlperf.metrics import Metric, metric_named
from pytest_dlperf.statistics.estimate import CONFIDENCE, NORMAL_REACH, Estimate
from pytest_dlperf.tuning.result import WEIGHED, Basis, Effect, TrialResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.tuning.configuration import Knob
    from pytest_dlperf.tuning.goal import Goal, Measured

_SMALLEST: Final = 1e-9  # a standard error of zero would have infinite weight
_ESTIMABLE: Final = 1e-8  # how far rounding may move a unit vector out of the row space


@dataclass(frozen=True, slots=True, eq=False)
class MainEffects:
    """Coefficients with their intervals.

    Attributes:
        values: shape `(changes,)`.
        reach: how far the interval of each goes to either side; not a number where there is none.
        identifiable: whether the trials determine a coefficient and its interval.
        freedom: degrees of freedom of the residuals.
    """

    values: NDArray[np.float64]
    reach: NDArray[np.float64]
    identifiable: NDArray[np.bool_]
    freedom: int


@dataclass(frozen=True, slots=True)
class _Group:
    """The differences of pairs that one value makes, with their standard errors."""

    differences: NDArray[np.float64]
    errors: NDArray[np.float64]

    @property
    def weights(self) -> NDArray[np.float64]:
        return 1.0 / np.maximum(self.errors, _SMALLEST) ** 2

    @property
    def mean(self) -> float:
        return float(np.average(self.differences, weights=self.weights))

    @property
    def error(self) -> float:
        known = not self.errors.any() and not self.differences.any()
        return 0.0 if known else float(self.weights.sum() ** -0.5)

    @property
    def scatter(self) -> float:
        """Weighted squares about the mean, of `len - 1` degrees of freedom."""
        return float((self.weights * (self.differences - self.mean) ** 2).sum())


def effects_of(
    trials: Sequence[TrialResult], knobs: Sequence[Knob], goal: Goal | None = None
) -> tuple[Effect, ...]:
    """The effect of each value, by knob, value and metric; what cannot be estimated is left out."""
    names = dict.fromkeys((*WEIGHED, *(goal.metrics if goal else ())))
    effects = {
        _id(effect): effect
        for name in names
        for effect in _of_metric(trials, knobs, metric_named(name))
    }
    return tuple(
        effects[key]
        for knob in knobs
        for value in knob.values[1:]
        for name in names
        if (key := (knob.name, str(value), name)) in effects
    )


def worth_of(
    trials: Sequence[TrialResult], knobs: Sequence[Knob], goal: Goal
) -> tuple[Effect, ...]:
    """The effect of each value in a study, from the trial of that value alone where there is one.

    The effect of a value often depends on the other values, so a trial that differs from the first
    one, the setup without tuning, in this value alone says more about it than all others.
    """
    default = trials[0].configuration
    single = [trial for trial in trials if len(trial.configuration.differences(default)) <= 1]
    alone = {_id(effect): effect for effect in effects_of(single, knobs, goal)}
    return tuple(alone.get(_id(effect), effect) for effect in effects_of(trials, knobs, goal))


def _id(effect: Effect) -> tuple[str, str, str]:
    return effect.knob, effect.value, effect.metric


def _of_metric(
    trials: Sequence[TrialResult], knobs: Sequence[Knob], metric: Metric
) -> Iterator[Effect]:
    measured_trials = [
        (trial.configuration.texts(), measured)
        for trial in trials
        if (measured := trial.measured) is not None and metric.name in measured.metrics
    ]
    groups = {
        (knob.name, str(value)): group
        for knob in knobs
        for value in knob.values[1:]
        if (group := _pairs(measured_trials, knob, str(value), metric)) is not None
    }
    columns, fit = _fit(measured_trials, knobs, metric)
    places = {column: place for place, column in enumerate(columns) if fit.identifiable[place]}
    inflation, quantile = _pooled(list(groups.values()), fit.freedom)
    for knob in knobs:
        for value in map(str, knob.values[1:]):
            group = groups.get((knob.name, value))
            basis: Basis = "pairs" if group else "least squares"
            if group is not None:
                reach = quantile * inflation * group.error
                change = _change(metric, group.mean, reach)
                count = len(group.differences)
            elif (place := places.get((knob.name, value))) is not None:
                change = _change(metric, float(fit.values[place]), float(fit.reach[place]))
                count = sum(texts[knob.name] == value for texts, _ in measured_trials)
            else:
                continue
            yield Effect(knob.name, value, str(knob.default), metric.name, change, basis, count)


def _pairs(
    measured_trials: Sequence[tuple[dict[str, str], Measured]],
    knob: Knob,
    value: str,
    metric: Metric,
) -> _Group | None:
    """Differences between this value and the default, all else being equal."""
    by_rest: dict[tuple[str, ...], dict[str, Measured]] = {}
    for texts, measured in measured_trials:
        rest = tuple(text for name, text in texts.items() if name != knob.name)
        by_rest.setdefault(rest, {})[texts[knob.name]] = measured
    default = str(knob.default)
    # Pairs of the same two trainings are one pair, however often they were served.
    pairs = {
        (sides[value].metrics[metric.name], sides[default].metrics[metric.name]): _difference(
            sides[value], sides[default], metric
        )
        for sides in by_rest.values()
        if value in sides and default in sides
    }
    if not pairs:
        return None
    differences, errors = np.array(list(pairs.values())).T
    return _Group(differences, errors)


def _difference(measured: Measured, base: Measured, metric: Metric) -> tuple[float, float]:
    """The difference of two trials and its standard error; of the same rows, by their pairs."""
    mine, its = measured.metrics[metric.name], base.metrics[metric.name]
    if mine == its:
        return 0.0, 0.0  # the same training, or equal in every figure
    lost = lost_on_rows(metric, measured, base) if metric.unit == "share" else None
    if lost is not None:
        sign = -1 if metric.better == "higher" else 1
        return sign * lost.value, (lost.high - lost.low) / 2 / NORMAL_REACH
    error = math.hypot(_error(metric, mine), _error(metric, its))
    return _scaled(metric, mine.value) - _scaled(metric, its.value), error


def _scaled(metric: Metric, value: float) -> float:
    """A share as it is, anything else as its logarithm."""
    return value if metric.unit == "share" else math.log(max(value, _SMALLEST))


def _error(metric: Metric, estimate: Estimate) -> float:
    reach = _scaled(metric, estimate.high) - _scaled(metric, estimate.low)
    return reach / 2 / NORMAL_REACH


def _pooled(groups: Sequence[_Group], residual: int) -> tuple[float, float]:
    """Inflation of the standard errors, and the quantile of the interval.

    Birge's ratio (1932), pooled over all values that have several pairs: the root of the weighted
    squares over their number, at least 1. Where trials scatter more than their own errors say,
    the interval is Student's, else the normal one.

    `residual` is the degrees of freedom of the residuals of main effects. Pairs of several values
    share trials, so their scatter cannot have more, but at least the one of two pairs.
    """
    from scipy.special import stdtrit

    freedom = sum(len(group.differences) - 1 for group in groups)
    scatter = sum(group.scatter for group in groups)
    if freedom == 0 or scatter <= freedom:
        return 1.0, NORMAL_REACH
    quantile = float(stdtrit(max(1, min(freedom, residual)), 1 - (1 - CONFIDENCE) / 2))
    return math.sqrt(scatter / freedom), quantile


def _fit(
    measured_trials: Sequence[tuple[dict[str, str], Measured]],
    knobs: Sequence[Knob],
    metric: Metric,
) -> tuple[list[tuple[str, str]], MainEffects]:
    """Main effects of all trials together, and which knob and value each of them is of."""
    training = {knob.name for knob in knobs if knob.stage != "serving"}
    # One training is one observation, however often it was served.
    seen = {
        (_key(texts, training), measured.metrics[metric.name]): texts
        for texts, measured in measured_trials
    }
    columns = [
        (knob.name, str(value))
        for knob in knobs
        if not metric.of_training or knob.name in training
        for value in knob.values[1:]
    ]
    rows = [[texts[name] == value for name, value in columns] for texts in seen.values()]
    changed = np.array(rows, bool).reshape(len(seen), len(columns))
    values = np.array([_scaled(metric, estimate.value) for _, estimate in seen])
    return columns, main_effects(changed, values)


def _key(texts: dict[str, str], names: set[str]) -> tuple[str, ...]:
    return tuple(text for name, text in texts.items() if name in names)


def _change(metric: Metric, value: float, reach: float) -> Estimate:
    ends = (value, value - reach, value + reach)
    if metric.unit == "share":
        return Estimate(*ends)
    return Estimate(*map(math.expm1, ends))


def main_effects(changed: NDArray[np.bool_], measured: NDArray[np.float64]) -> MainEffects:
    """Least squares on an indicator for each change, with Student's interval.

    A coefficient is identifiable if its unit vector lies in the row space of the design (Searle
    1971, "Linear Models", section 5.4), and its interval if a trial is left for the residuals.

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
