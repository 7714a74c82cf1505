"""Gradual regressions: many small losses, each accepted or too small to see, added up.

A baseline's sessions follow what is accepted, so a metric that loses a little again and again
stays close to them. The anchor is a session that does not move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.judge.conditions import ALIKE
from pytest_dlperf.judge.contrasts import session_of, unpaired_loss
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.hints import look_into_loss
from pytest_dlperf.statistics.estimate import NORMAL_REACH
from pytest_dlperf.statistics.machine_speed import follow, logs_of
from pytest_dlperf.statistics.prediction import PRIOR_FREEDOM, Session, reference_change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.judge.conditions import MachineConditions
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.baseline_session import BaselineSession

LEAST_SPREADS: Final = 3.0
"""A loss since the anchor is reported from this many standard deviations of unchanged code. Where
sessions of unchanged code differ by 5 %, that is at most one of 200 sessions, and one of 100 tests
in 60 runs (simulated; the tests hold it)."""

_PRESENT: Final = 5  # sessions whose mean is the present; older ones lag behind a gradual loss


@dataclass(frozen=True, slots=True)
class GradualLoss:
    """The loss of one metric since the anchor.

    Attributes:
        metric: its name.
        loss: above 0 if worse; log ratio of the cost, or in shares of one.
        spread: standard deviation of the loss for unchanged code.
    """

    metric: str
    loss: float
    spread: float

    def __str__(self) -> str:
        metric = metric_named(self.metric)
        side = "below" if metric.better == "higher" else "above"
        if metric.unit == "share":
            return f"{self.metric} is {self.loss * 100:.1f} pt {side}"
        ratio = math.expm1(-self.loss if metric.better == "higher" else self.loss)
        return f"{self.metric} is {abs(ratio) * 100:.0f} % {side}"


def gradual_loss(
    present: BaselineEntry, budgets: Iterable[Budget], conditions: MachineConditions
) -> tuple[GradualLoss, ...]:
    """The metrics with relative budgets that have lost since the anchor.

    A loss counts if it is proven and as large as the metric's `detect`. It is the mean of the
    newest k <= 5 sessions less the anchor, in log costs, with what follows the yardstick taken off
    if all sessions have one, against `3 sqrt(v (1 + 1/k) + f)`, where `f` is how unsure it is that
    the metric follows. The variance `v` of a session combines the
    prior with the mean square successive difference (von Neumann et al. 1941), which a gradual
    loss hardly changes; a sudden one does, and is left to the judge. With `d` the differences
    of n sessions in turn and `e` their own errors,

    `v = (nu0 (prior^2 + mean(e^2)) + k' sum(d^2) / (2 (n - 1))) / (nu0 + k')`,
    `k' = 2 (n - 1)^2 / (3 n - 4)`.

    Shares are compared with their own intervals instead, session by session.

    Args:
        present: the sessions up to the one just measured, and the anchor.
        budgets: their order is that of the result.
        conditions: of the machine.
    """
    anchor = present.anchor
    if anchor is None or anchor == present.newest:
        return ()
    metrics = {
        budget.metric.name: budget.metric
        for budget in budgets
        if budget.relative and budget.metric.name != "errors"
    }
    losses = []
    for metric in metrics.values():
        if metric.name not in anchor.metrics or metric.name not in present.metrics:
            continue
        if metric.is_speed and _speed_changed(anchor, conditions):
            continue
        if metric.unit == "share":
            loss, least = _lost_share(metric, anchor, present.newest), metric.detect
        else:
            loss, least = _lost(metric, anchor, present, conditions), math.log1p(metric.detect)
        if loss.loss >= max(least, LEAST_SPREADS * loss.spread):
            losses.append(loss)
    return tuple(losses)


def gradual_loss_note(
    losses: Sequence[GradualLoss], present: BaselineEntry, test: str, name: str
) -> str:
    """The message about at least one loss, and the commands that help, each on its own line."""
    anchor = present.anchor.revision if present.anchor else ""
    count = present.changes
    changes = f", after {count} accepted change{'s' if count > 1 else ''}" if count else ""
    lost = " and ".join(map(str, losses))
    return look_into_loss(f"{lost} the anchor of {anchor}{changes}", test, name)


def _speed_changed(anchor: BaselineSession, conditions: MachineConditions) -> bool:
    """Whether the machine's speed differs from the anchor's session, or was disturbed."""
    if conditions.noisy or conditions.speed_changed:
        return True
    sessions = (Session(0.0, 0.0, pace) for pace in (anchor.yardstick, conditions.yardstick))
    change = reference_change([next(sessions)], next(sessions))
    least, most = ALIKE
    return change is not None and not least <= change <= most


def _lost_share(metric: Metric, anchor: BaselineSession, now: BaselineSession) -> GradualLoss:
    lost, reach = unpaired_loss(metric, anchor.metrics[metric.name], now.metrics[metric.name])
    return GradualLoss(metric.name, lost, reach / NORMAL_REACH)


def _lost(
    metric: Metric, anchor: BaselineSession, present: BaselineEntry, conditions: MachineConditions
) -> GradualLoss:
    measured = [session for session in present.sessions if metric.name in session.metrics]
    first, *sessions = (
        session_of(metric, session.metrics[metric.name], session.yardstick)
        for session in (anchor, *measured)
    )
    costs = np.array([session.cost for session in sessions])
    errors = np.array([session.error for session in sessions])
    later = np.flatnonzero([session != anchor for session in measured])[-_PRESENT:]
    prior = math.log1p(metric.run_noise) ** 2 + float(np.mean(errors**2))
    loss, unsure = float(costs[later].mean()) - first.cost, 0.0
    paces = [session.yardstick for session in (first, *sessions) if session.yardstick is not None]
    if metric.name in conditions.scaled and len(paces) == len(sessions) + 1:
        logs = logs_of(paces[1:])
        following = follow([costs], [logs], noise=math.sqrt(prior), worth=PRIOR_FREEDOM)
        change = logs[later].mean(axis=0) - paces[0].logs
        costs = costs - following.expected(logs)
        loss -= float(following.expected(change))
        unsure = following.variance(change)
    variance = _variance(costs, prior) * (1 + 1 / len(later)) + unsure
    return GradualLoss(metric.name, loss, math.sqrt(variance))


def _variance(costs: NDArray[np.float64], prior: float) -> float:
    """Variance of a session, from successive differences and the prior."""
    steps = len(costs) - 1
    if not steps:
        return prior
    shown = float((np.diff(costs) ** 2).sum()) / (2 * steps)
    freedom = 2 * steps**2 / (3 * len(costs) - 4)
    return (PRIOR_FREEDOM * prior + freedom * shown) / (PRIOR_FREEDOM + freedom)
