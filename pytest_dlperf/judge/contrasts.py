"""The loss between two sides: row by row, seed by seed, or between sessions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.judge.conditions import scaled_metrics_of
from pytest_dlperf.judge.loss_evidence import AgreedLoss, MeasuredLoss, PairedLoss
from pytest_dlperf.judge.losses import cost, log_cost
from pytest_dlperf.statistics.estimate import NORMAL_REACH, Estimate, counted
from pytest_dlperf.statistics.prediction import PRIOR_FREEDOM, Prediction, Session, contrast
from pytest_dlperf.statistics.proportions import are_bits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_dlperf.judge.loss_evidence import LossEvidence
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.row_evidence import Rows, RowScores
    from pytest_dlperf.statistics.pace import Pace
    from pytest_dlperf.statistics.session_noise import SessionNoise


FEWEST_SEEDS: Final = 3
"""Trainings from fewer seeds do not show whether accuracy was lost."""

MANY: Final = 1_000_000
"""Degrees of freedom of what is as good as normal."""


@dataclass(frozen=True, slots=True)
class SessionValue:
    """A metric's value in one session.

    Attributes:
        measured: the value.
        yardstick: the machine's pace, if it was measured.
        day: on which it was; sessions of one day count as one. Empty for a day of its own.
    """

    measured: Estimate
    yardstick: Pace | None = None
    day: str = ""


class Answered(Protocol):
    """What has answered rows: a measurement, or what is stored of one."""

    @property
    def rows(self) -> Rows | None:
        """The evidence for accuracy."""

    @property
    def scores(self) -> RowScores | None:
        """The evidence for users' metrics."""

    @property
    def seeds(self) -> tuple[float, ...]:
        """The accuracy from each seed, of trainings from several."""


def loss_on_rows(metric: Metric, candidate: Answered, base: Answered) -> LossEvidence | None:
    """What is known of the loss of a share from the rows that both sides were asked.

    Rows that are right or wrong are counted. The mean loss of other scores has Student's t for
    pairs (Student 1908): with `d` the n losses of rows, `mean(d)` and its standard error
    `sd(d) / sqrt(n)`, n - 1 degrees of freedom. Where no score differs, the exact test for rows
    that are all as before decides.

    Rows of the same content are one row. Where some have more copies than others, the loss is that
    of all rows: a mean with weights, whose Student's t has to agree with the count.

    Rows with positions, such as the tokens of a text, are the units all the same, as the positions
    of a row go wrong together: what a row loses is the share of its positions, which weighs as many
    as it has, and the mean of that has Student's t.

    Returns:
        None where the rows are not the same, or a single one leaves its noise unknown.
    """
    if metric.name == "accuracy":
        if candidate.rows is None or base.rows is None or not candidate.rows.pairable(base.rows):
            return None
        pairs = candidate.rows.pairs(base.rows)
        if not pairs[-1]:
            return None
        weights = candidate.rows.weights(base.rows)
        now, then = candidate.rows.shares(base.rows)
        if candidate.rows.positions is not None:
            return _loss_in_scores(metric, now, then, weights)
        counts = PairedLoss(*pairs)
        return counts if weights is None else _weighted(metric, counts, now, then, weights)
    both_scores = scores_on_rows(metric, candidate, base)
    return _loss_in_scores(metric, *both_scores) if both_scores is not None else None


def _loss_in_scores(
    metric: Metric,
    now: NDArray[np.float64],
    then: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
) -> LossEvidence | None:
    losses = then - now if metric.better == "higher" else now - then
    rows = len(losses)
    if not losses.any():
        return PairedLoss(0, 0, rows)
    if are_bits(now) and are_bits(then):
        counts = PairedLoss(int((losses > 0).sum()), int((losses < 0).sum()), rows)
        return counts if weights is None else _weighted(metric, counts, now, then, weights)
    if rows == 1:
        return None
    return _mean_loss(losses if weights is None else losses * weights)


def _weighted(
    metric: Metric,
    counts: PairedLoss,
    now: NDArray[np.float64],
    then: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> LossEvidence:
    losses = (then - now if metric.better == "higher" else now - then) * weights
    if not losses.any() or len(losses) == 1:
        return counts
    return AgreedLoss((_mean_loss(losses), counts))


def _mean_loss(losses: NDArray[np.float64]) -> MeasuredLoss:
    error = float(np.std(losses, ddof=1)) / math.sqrt(len(losses))
    return MeasuredLoss(Prediction(float(losses.mean()), error, len(losses) - 1))


def lost_on_rows(metric: Metric, candidate: Answered, base: Answered) -> Estimate | None:
    """The loss of a share on the rows that both were asked; None if there are no such rows."""
    evidence = loss_on_rows(metric, candidate, base)
    return evidence.loss if evidence is not None else None


def unpaired_loss(metric: Metric, base: Estimate, now: Estimate) -> tuple[float, float]:
    """The loss between two independent intervals, and its reach to either side."""
    then, present = (
        abs(cost(metric, side.high) - cost(metric, side.low)) / 2 for side in (base, now)
    )
    return cost(metric, now.value) - cost(metric, base.value), math.hypot(present, then)


def values_of(metric: Metric, side: BaselineEntry) -> list[SessionValue]:
    """The metric's value in each session that has it, oldest first."""
    return [
        SessionValue(session.metrics[metric.name], session.yardstick, session.revision.date)
        for session in side.sessions
        if metric.name in session.metrics
    ]


def unpaired(metric: Metric, base: BaselineEntry, candidate: BaselineEntry) -> Prediction:
    """The loss of a share between the newest sessions of both sides, by their intervals."""
    old, new = (values_of(metric, side)[-1].measured for side in (base, candidate))
    lost, reach = unpaired_loss(metric, old, new)
    return Prediction(lost, reach / NORMAL_REACH, MANY)


def contrast_of(metric: Metric, base: BaselineEntry, candidate: BaselineEntry) -> Prediction:
    """The loss of a speed or a size between the sessions of two sides; a session of each has it."""
    return loss_of_sessions(
        metric,
        values_of(metric, base),
        values_of(metric, candidate),
        scaled=metric.name in scaled_metrics_of(candidate.scenario),
        paired=same_rows(metric, candidate, base),
    )


def loss_of_sessions(  # noqa: PLR0913 - two sides, and what is known of both
    metric: Metric,
    then: Iterable[SessionValue],
    now: Iterable[SessionValue],
    *,
    scaled: bool,
    paired: bool,
    noise: SessionNoise | None = None,
) -> Prediction:
    """The loss of a speed or a size, see `contrast`.

    `scaled` allows for the machine's speed; `paired` says that both sides answered the same rows;
    `noise` is that between sessions, where it is known better than by the metric's prior.
    """
    base, candidate = (
        [
            session_of(
                metric,
                # The interval of a mean over rows is about other rows than these.
                counted(one.measured.value) if paired else one.measured,
                one.yardstick if scaled else None,
                one.day,
            )
            for one in side
        ]
        for side in (then, now)
    )
    prior, freedom = math.log1p(metric.run_noise), float(PRIOR_FREEDOM)
    if noise is not None:
        prior, freedom = noise.spread, noise.freedom
    return contrast(base, candidate, prior, freedom)


def session_of(
    metric: Metric, measured: Estimate, yardstick: Pace | None, day: str = ""
) -> Session:
    """One metric in one session, as a logarithm of its cost."""
    low, high = log_cost(metric, measured.low), log_cost(metric, measured.high)
    return Session(
        cost=log_cost(metric, measured.value),
        error=abs(high - low) / (2 * NORMAL_REACH),
        yardstick=yardstick,
        day=day,
    )


def same_rows(metric: Metric, candidate: Answered, base: Answered) -> bool:
    """Whether a metric of answers, no share, is the mean over the same rows on both sides."""
    if metric.by_user:
        return scores_on_rows(metric, candidate, base) is not None
    rows, before = candidate.rows, base.rows
    return metric.name == "loss" and bool(rows and before and rows.pairable(before))


def scores_on_rows(
    metric: Metric, candidate: Answered, base: Answered
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None] | None:
    """The scores of rows that both have, and their weights if these are not equal."""
    if not metric.by_user or candidate.scores is None or base.scores is None:
        return None
    pairs = candidate.scores.pairs(base.scores, metric.name)
    if pairs is None:
        return None
    return *pairs, candidate.scores.weights(base.scores, metric.name)
