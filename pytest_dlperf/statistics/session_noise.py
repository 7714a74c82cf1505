"""The noise between sessions of one machine, learnt from everything that was measured on it.

One test has few sessions, and its baseline leaves the odd ones out; all tests together show what
unchanged code differs by from day to day, and how often a day is far off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import deviation
from pytest_dlperf.statistics.machine_speed import UNKNOWN_FOLLOWING, logs_of
from pytest_dlperf.statistics.prediction import (
    LEAST_NOISE,
    PRIOR_FREEDOM,
    Session,
    days_of,
    mean_of_day,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

EXCURSION: Final = math.log(1.3)
"""How far off a session beside a busy neighbour is expected to be, as a log ratio."""

_EXPECTED: Final = (0.5, 10.0)  # of that many sessions, so many are expected to be: 1 in 20
EXPECTED_EXCURSIONS: Final = ((EXCURSION, _EXPECTED[0] / _EXPECTED[1]),)
"""What single sessions are off by where no history shows it, and the share that is."""

_TRIM: Final = 3.0  # standard deviations; changes of the code and odd days are beyond
_KEPT: Final = 0.9733  # variance of a normal value that is trimmed there
_PER_DIFFERENCE: Final = 0.6  # degrees of freedom: 2/3 by von Neumann et al. (1941), then trimmed
_ODD: Final = 4.0  # standard deviations from which a day is far off
_LEAST_ODD: Final = 0.05
_AROUND: Final = 3  # days before and after, whose median a day is compared with
_FEWEST_AFTER: Final = 2  # of fewer days, the next one may be the first of a new level
_PRIOR_UNITS: Final = 2.0  # tests that the expected differences between tests are worth
_SEEN: Final = 2.0  # what a day that is far off counts for
_MOST_SIZES: Final = 8


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """The sessions of one metric between two accepted changes, oldest first.

    Attributes:
        measurement: which test, and name, it is of.
        sessions: under the same conditions.
    """

    measurement: str
    sessions: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class SessionNoise:
    """What unchanged code differs by from session to session.

    Attributes:
        spread: standard deviation between sessions, as a log ratio.
        freedom: degrees of freedom that it is worth.
        excursions: sizes of what single sessions are off by beyond that, and the share of
            sessions that are off by as much or more; sizes ascend.
        days: on how many days it was measured; 0 for the prior alone.
    """

    spread: float
    freedom: float = PRIOR_FREEDOM
    excursions: tuple[tuple[float, float], ...] = EXPECTED_EXCURSIONS
    days: int = 0


@dataclass(frozen=True, slots=True)
class ShownNoise:
    """What the sessions of one test differ by.

    Attributes:
        variance: between sessions, of log costs.
        freedom: its degrees of freedom.
        odd: the days that are far off, and by how much.
        days: all days.
    """

    variance: float
    freedom: float
    odd: Mapping[str, float]
    days: frozenset[str]


def shown_noise(series: Iterable[MetricSeries]) -> dict[str, ShownNoise]:
    """What each measurement shows of the noise, from metrics of a kind; the others are left out.

    The variance is that of differences between consecutive days, half their mean square. Those
    beyond three robust standard deviations are left out: most are changes of the code.

    A day counts as far off if it differs from the median of the three days before it and from that
    of the three after it by four standard deviations and by 5 %.
    """
    by_test: dict[str, list[list[Session]]] = {}
    for one in series:
        means = list(map(mean_of_day, days_of(one.sessions)))
        if len(means) > 1:
            by_test.setdefault(one.measurement, []).append(means)
    return {measurement: _shown(parts) for measurement, parts in by_test.items()}


def pooled_spread(
    others: Sequence[ShownNoise], prior: float, own: ShownNoise | None = None
) -> SessionNoise:
    """The noise between sessions of a test, from all tests of a machine.

    The variances of tests are shrunk towards each other by empirical Bayes (Smyth 2004,
    limma): a scaled inverse chi-square distribution is fitted to them by the mean and the variance
    of their logarithms, and is the prior of any test. Tests that agree make it worth many degrees
    of freedom, at most as many as the days have, since the tests of a day share its machine; tests
    that differ few. The prior of the metric counts as one more test, and as much as is expected of
    differences between tests as two. `own` is what the test itself shows, which is combined with
    that prior by degrees of freedom.

    Of the share of days that are far off the posterior mean is given, after 1 in 20 of `EXCURSION`
    in ten days; those that were seen count twice, as they are few and their sizes are estimates.

    Args:
        others: what other tests show.
        prior: standard deviation without any history, as a log ratio, above 0.
        own: what this test shows.
    """
    known = (*others, *((own,) if own else ()))
    if not known:
        return SessionNoise(prior)
    variance, freedom = _fitted(others, prior) if others else (prior**2, float(PRIOR_FREEDOM))
    if own:
        variance = (freedom * variance + own.freedom * own.variance) / (freedom + own.freedom)
        freedom += own.freedom
    days = _days(known)
    return SessionNoise(math.sqrt(variance), freedom, _excursions(known, len(days)), len(days))


def _days(units: Iterable[ShownNoise]) -> frozenset[str]:
    return frozenset[str]().union(*(unit.days for unit in units))


def _shown(parts: Sequence[Sequence[Session]]) -> ShownNoise:
    levels = [_levels(part) for part in parts]
    steps = np.concatenate([np.diff(part) for part in levels]) / math.sqrt(2)
    errors = np.concatenate([_errors(part) for part in parts])
    robust = deviation(np.abs(steps))
    kept = np.abs(steps) <= (_TRIM * robust or math.inf)
    shown = float(np.mean(steps[kept] ** 2)) / _KEPT - float(np.mean(errors[kept]))
    variance = max(shown, LEAST_NOISE**2)
    days = frozenset(session.day for part in parts for session in part)
    # Metrics of a test share its sessions: the number of days counts, not of values.
    differences = max(1, len(days) - 1)
    odd: dict[str, list[float]] = {}
    for part, values in zip(parts, levels, strict=True):
        for number, size in _far_off(values, math.sqrt(variance)):
            odd.setdefault(part[number].day, []).append(size)
    sizes = {day: float(np.median(found)) for day, found in odd.items()}
    return ShownNoise(variance, _PER_DIFFERENCE * differences, sizes, days)


def _errors(sessions: Sequence[Session]) -> NDArray[np.float64]:
    """The variance of each difference between consecutive sessions by their own errors, halved."""
    squares = np.array([session.error**2 for session in sessions])
    halves: NDArray[np.float64] = (squares[1:] + squares[:-1]) / 2
    return halves


def _levels(sessions: Sequence[Session]) -> NDArray[np.float64]:
    """Log costs, less what is expected to follow the yardstick where all sessions have it.

    By the prior weights, as in a comparison of few days, which must not be taken for a better one.
    """
    paces = [session.yardstick for session in sessions if session.yardstick is not None]
    costs = np.array([session.cost for session in sessions])
    if len(paces) < len(sessions):
        return costs
    return costs - UNKNOWN_FOLLOWING.expected(logs_of(paces))


def _far_off(values: NDArray[np.float64], spread: float) -> list[tuple[int, float]]:
    """The places of days that agree with neither the days before nor those after, and by how much.

    Days at the start and the end are not looked at: there, nothing tells them from a new level.
    """
    found = []
    least = max(_ODD * spread, _LEAST_ODD)
    # Either neighbour is within the noise of a day that is not far off, as a rule.
    far = np.minimum(np.abs(np.diff(values[:-1])), np.abs(np.diff(values[1:]))) > least / 2
    for place in np.flatnonzero(far) + 1:
        if not _FEWEST_AFTER <= place < len(values) - _FEWEST_AFTER:
            continue
        before = float(values[place] - np.median(values[max(0, place - _AROUND) : place]))
        after = float(values[place] - np.median(values[place + 1 : place + 1 + _AROUND]))
        if before * after > 0 and min(abs(before), abs(after)) > least:
            found.append((int(place), abs(before + after) / 2))
    return found


def _fitted(units: Sequence[ShownNoise], prior: float) -> tuple[float, float]:
    """The variance of another test, and the degrees of freedom that it is worth."""
    from scipy.special import digamma, polygamma

    halves = np.array([unit.freedom for unit in units]) / 2
    logs = np.log([unit.variance for unit in units]) - digamma(halves) + np.log(halves)
    noise = polygamma(1, halves)
    expected = float(polygamma(1, PRIOR_FREEDOM / 2))
    weights = expected / (expected + noise)  # of what a test says about all
    first = math.log(prior**2) - float(digamma(PRIOR_FREEDOM / 2)) + math.log(PRIOR_FREEDOM / 2)
    total = float(weights.sum())
    mean = (first + float(weights @ logs)) / (1 + total)
    differ = max(0.0, float(weights @ ((logs - mean) ** 2 - noise)) / total)
    between = (_PRIOR_UNITS * expected + total * differ) / (_PRIOR_UNITS + total)
    of_mean = (between + float(weights @ noise) / total) / (1 + total)
    days = len(_days(units))
    freedom = 2 * _inverse_trigamma(between + of_mean)
    freedom = max(PRIOR_FREEDOM, min(freedom, PRIOR_FREEDOM + _PER_DIFFERENCE * (days - 1)))
    variance = math.exp(mean + float(digamma(freedom / 2)) - math.log(freedom / 2))
    return variance, freedom


def _inverse_trigamma(value: float) -> float:
    """By bisection; trigamma falls from infinity to 0."""
    from scipy.special import polygamma

    low, high = 1e-3, 1e4
    for _ in range(50):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if polygamma(1, middle) > value else (low, middle)
    return math.sqrt(low * high)


def _excursions(units: Sequence[ShownNoise], days: int) -> tuple[tuple[float, float], ...]:
    """Sizes with the share of sessions that are off by as much; tests of a day share its count."""
    expected, sessions = _EXPECTED
    measured: dict[str, int] = {}
    for unit in units:
        for day in unit.days:
            measured[day] = measured.get(day, 0) + 1
    found = [(size, 1 / measured[day]) for unit in units for day, size in unit.odd.items()]
    sizes, weights = np.array(found).reshape(-1, 2).T
    chosen = [EXCURSION]
    if found:
        chosen += np.quantile(sizes, np.linspace(0, 1, _MOST_SIZES)).tolist()
    table = []
    for size in sorted(set(chosen)):
        count = _SEEN * float(weights[sizes >= size].sum())
        count += expected if size <= EXCURSION else 0.0
        table.append((size, count / (days + sessions)))
    return tuple(table)
