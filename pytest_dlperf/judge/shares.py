"""The loss of a share, such as accuracy, since a stored baseline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.judge.contrasts import (
    FEWEST_SEEDS,
    MANY,
    loss_on_rows,
    scores_on_rows,
    unpaired_loss,
)
from pytest_dlperf.judge.loss_evidence import AgreedLoss, MeasuredLoss
from pytest_dlperf.judge.losses import cost
from pytest_dlperf.statistics.estimate import NORMAL_REACH
from pytest_dlperf.statistics.prediction import PRIOR_FREEDOM, Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.judge.conditions import MachineConditions
    from pytest_dlperf.judge.contrasts import Answered
    from pytest_dlperf.judge.loss_evidence import LossEvidence
    from pytest_dlperf.judge.losses import LossLimits
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.measurement import Measurement


_TRAINED_ANEW: Final = 0.0035
"""Prior standard deviation of a share between models that are trained anew, in shares of one."""
_SHARE_OF_DIFFERENT: Final = 0.25  # ... and at most this times the rows that are answered otherwise
_LEAST_SEED_NOISE: Final = 0.001  # of seeds that happen to lose the same


def lost_share(metric: Metric, candidate: Measurement, base: BaselineEntry) -> LossEvidence:
    """What is known of the loss of a share since a baseline; both have the metric.

    Trainings from the same seeds are compared seed by seed. Else the loss since the newest session
    is measured row by row, or by the intervals where the rows are others. That is about the two
    models at hand, not about the code, if a model is trained anew in each session: then the
    sessions, too, have to show the loss, see `loss_between_sessions`. Where several sessions gave
    the same answers to every row, the model is not, and the rows alone decide. They do as well
    where no answer has changed.
    """
    if metric.name == "accuracy" and len(candidate.seeds) == len(base.seeds) >= FEWEST_SEEDS:
        return MeasuredLoss(_loss_of_seeds(base.seeds, candidate.seeds))
    name = metric.name
    values = [session.metrics[name] for session in base.sessions if name in session.metrics]
    now = candidate.metrics[name]
    on_rows = loss_on_rows(metric, candidate, base)
    if on_rows is None:
        lost, reach = unpaired_loss(metric, values[-1], now)
        on_rows = MeasuredLoss(Prediction(lost, reach / NORMAL_REACH, MANY))
    if not on_rows.differs or base.repeats_answers(name):
        return on_rows
    differ = _share_of_different_rows(metric, candidate, base)
    costs = [cost(metric, value.value) for value in values]
    between = loss_between_sessions(
        costs,
        cost(metric, now.value),
        prior=min(_TRAINED_ANEW, _SHARE_OF_DIFFERENT * differ),
        # Of one session: the interval is that of the difference of two.
        error=(on_rows.loss.high - on_rows.loss.low) / (2 * math.sqrt(2) * NORMAL_REACH),
    )
    return AgreedLoss((on_rows, MeasuredLoss(between)))


def loss_between_sessions(
    history: Sequence[float], present: float, *, prior: float, error: float
) -> Prediction:
    """Predict a share of a session of unchanged code, for a model that is trained anew in each.

    Of m shares, the mean is what is expected. What sessions differ by beyond the error of the rows,
    `s^2`, combines what they show with the prior as a scaled inverse chi-square, as `contrast` does
    for speeds: `s^2 = (nu0 prior^2 + S) / (nu0 + m - 1)` with
    `S = max(0, sum((x - mean)^2) - (m - 1) error^2)`, but at least `S / (m - 1)`, for models that
    differ by more than the prior. The loss has the variance `(s^2 + error^2) (1 + 1/m)`, and
    Satterthwaite's degrees of freedom (1946): `nu0 + m - 1` where `s` dominates, else more.

    Args:
        history: shares of the earlier sessions, at least one, signed so that more is worse.
        present: the share of this session.
        prior: standard deviation of a session's model, 0 or more.
        error: standard deviation of a session's share because of the rows that differ.
    """
    sessions, values = len(history), np.array(history)
    around = float(((values - values.mean()) ** 2).sum()) - (sessions - 1) * error**2
    known = PRIOR_FREEDOM + sessions - 1
    between = (PRIOR_FREEDOM * prior**2 + max(0.0, around)) / known
    if sessions > 1:
        between = max(between, around / (sessions - 1))
    loss = present - float(values.mean())
    variance = between + error**2
    freedom = known * (variance / between) ** 2 if between else math.inf
    spread = math.sqrt(variance * (1 + 1 / sessions))
    return Prediction(loss, spread, int(min(freedom, MANY)))


def _share_of_different_rows(metric: Metric, candidate: Answered, base: Answered) -> float:
    """How far the answers of both sides differ, from 0 to 1; 1 if they are to other rows."""
    if metric.name == "accuracy":
        rows, before = candidate.rows, base.rows
        if rows is None or before is None or not rows.pairable(before):
            return 1.0
        now, then = rows.shares(before)
        return float(np.abs(now - then).mean()) if len(now) else 1.0
    both_scores = scores_on_rows(metric, candidate, base)
    if both_scores is None:
        return 1.0
    now, then, _ = both_scores
    return float(np.abs(now - then).mean())


def _loss_of_seeds(base: tuple[float, ...], candidate: tuple[float, ...]) -> Prediction:
    losses = np.array(base) - np.array(candidate)
    spread = max(_LEAST_SEED_NOISE, float(np.std(losses, ddof=1)))
    return Prediction(float(losses.mean()), spread / math.sqrt(len(losses)), len(losses) - 1)


def open_reason(
    evidence: LossEvidence, limits: LossLimits, conditions: MachineConditions, sessions: int
) -> str:
    """Why neither a loss nor its absence is proven."""
    if isinstance(evidence, AgreedLoss) and sessions == 1:
        rows = evidence.parts[0].decision(limits, conditions.alpha, conditions.beta)
        if rows is not None:
            lost = "lost" if rows == "FAIL" else "not lost"
            return (
                f"{lost} on these rows, but a model that was trained anew might differ as much: a "
                "second session of the baseline shows whether its answers change between sessions"
            )
    return "the noise hides a loss of this size"
