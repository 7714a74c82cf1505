"""Acceptance: when a measurement becomes the baseline."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.config.baseline_source import OF_FILES, BaselineAdvice
from pytest_dlperf.judge.judge import prediction_of
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.baseline import MOST_SESSIONS
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.config.options import Update
    from pytest_dlperf.judge.conditions import MachineConditions
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Keeping


ENOUGH_SESSIONS: Final = 8
"""A baseline of fewer sessions is young: `--dlperf-update=new` adds to it."""


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """How a measurement stands to the baseline that there is.

    Attributes:
        sessions: how many that has; 0 if there is none.
        unchanged: whether the noise explains all that differs; see `unchanged`.
        unquiet: what else the machine did, if that was too much for a session to say anything.
        other_conditions: whether it was measured under other conditions.
        anchored: whether that has an anchor.
        ways: what can be done about it, in words.
    """

    sessions: int = 0
    unchanged: bool = False
    unquiet: str = ""
    other_conditions: bool = False
    anchored: bool = False
    ways: BaselineAdvice = OF_FILES


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whether a measurement becomes the baseline, and what people should know of it.

    Attributes:
        keep: whether to write it, and whether the sessions before it stay.
        judgements: as they stand after the decision: what was broken only against the old
            baseline is NEW once the new one is accepted.
        hint: one sentence, and perhaps a command in a line of its own; empty if there is nothing
            to say.
        caution: why what is kept is to be taken with care; empty if it is not.
    """

    keep: Keeping
    judgements: tuple[Judgement, ...]
    hint: str
    caution: str = ""


def in_ci(variables: Mapping[str, str]) -> bool:
    """Whether this is a run in CI, where nothing is accepted unless that was asked for.

    Args:
        variables: environment variables.
    """
    return variables.get("CI", "").lower() not in {"", "0", "false"}


def decide_acceptance(
    update: Update | None,
    measurement: Measurement,
    judgements: tuple[Judgement, ...],
    standing: BaselineComparison,
) -> Acceptance:
    """Decide whether to write a measurement as the baseline.

    Never accepted: a run whose measuring failed, or one that breaks a budget that does not
    depend on the baseline. A session of a machine that was not quiet is accepted only where there
    is none yet, and with a caution.

    Args:
        update: what the user allowed.
        measurement: what was found.
        judgements: against the old baseline.
        standing: what it is to that.
    """
    broken = [judgement for judgement in judgements if judgement.verdict is Verdict.FAIL]
    keep = _wanted(update, judgements, standing)
    if not keep:
        return Acceptance(
            keep="",
            judgements=judgements,
            hint=_hint(update, measurement, judgements, standing),
        )
    invalid = any(judgement.verdict is Verdict.INVALID for judgement in judgements)
    missing = _missing(measurement)
    why = ""
    if measurement.invalid or invalid or missing:
        why = missing or measurement.invalid or "not all was measured"
    elif broken and (update != "all" or any(j.baseline is None for j in broken)):
        why = f"{broken[0].budget} is broken"
    elif standing.sessions and standing.unquiet:
        why = standing.unquiet
    if why:
        return Acceptance(keep="", judgements=judgements, hint=f"not recorded: {why}")
    if keep == "renew":
        hint, caution = _renewed(standing)
        return Acceptance(keep, tuple(map(_accepted, judgements)), hint, caution)
    number = min(standing.sessions + 1, MOST_SESSIONS)
    hint = f"session {number} of the baseline recorded"
    taken = tuple(map(_joined, judgements)) if update == "all" else judgements
    return Acceptance(keep, taken, hint)


def _renewed(standing: BaselineComparison) -> tuple[str, str]:
    """The hint and the caution of what begins a baseline."""
    if standing.sessions:
        moved = standing.other_conditions and standing.anchored
        anchor = ", and its anchor with it, since the conditions are others" if moved else ""
        return f"baseline replaced{anchor}", ""
    if not standing.unquiet:
        return "baseline recorded", ""
    caution = f"the baseline was recorded although {standing.unquiet}"
    return f"{caution}; record it again when it is quiet: --dlperf-update=all", caution


def _wanted(
    update: Update | None, judgements: tuple[Judgement, ...], standing: BaselineComparison
) -> Keeping:
    if update is None:
        return ""
    if not standing.sessions:
        return "renew"
    if update == "improved" and any(judgement.improved for judgement in judgements):
        return "renew"
    other = standing.other_conditions or any(judgement.incomparable for judgement in judgements)
    failed = any(judgement.verdict is Verdict.FAIL for judgement in judgements)
    same = standing.unchanged and not other and not failed
    if update == "all":
        return "follow" if same else "renew"
    asked = any(judgement.verdict is Verdict.NEW for judgement in judgements)
    return "follow" if same and standing.sessions < ENOUGH_SESSIONS and not asked else ""


def unchanged(
    measurement: Measurement,
    budgets: Iterable[Budget],
    baseline: BaselineEntry | None,
    day: MachineConditions,
) -> bool:
    """Whether a session is one more of the same code, as far as its budgets can tell.

    It is not if a metric that a relative budget is about differs from the sessions before it in
    either direction, though it be allowed: a mean over different code predicts nothing.

    Args:
        measurement: what was found.
        budgets: what was asked.
        baseline: the sessions before; None if there are none.
        day: what is known of the machine.
    """
    if baseline is None or day.speed_changed:
        return False
    compared = {
        budget.metric.name: budget.metric
        for budget in budgets
        if budget.relative
        and budget.metric.unit != "share"
        and budget.metric.name in measurement.metrics
        and any(budget.metric.name in session.metrics for session in baseline.sessions)
    }
    losses = (prediction_of(one, measurement, baseline, day) for one in compared.values())
    return all(loss.low(day.alpha) <= 0 <= loss.high(day.alpha) for loss in losses)


def _missing(measurement: Measurement) -> str:
    """Why there is nothing to hold a later measurement against; empty if there is."""
    max_rate = measurement.metrics.get("max_rate")
    if max_rate is not None and not max_rate.value:
        return "no rate held the limit"
    refused = measurement.refused
    return refused.get("throughput") or refused.get("max_rate") or ""


def _accepted(judgement: Judgement) -> Judgement:
    if judgement.verdict is Verdict.NEW:
        return dataclasses.replace(judgement, reason="recorded as the baseline")
    if judgement.baseline is None or judgement.verdict is Verdict.PASS:
        return judgement
    was = format_quantity(judgement.baseline, metric_named(judgement.metric).unit)
    return dataclasses.replace(
        judgement,
        verdict=Verdict.NEW,
        reason=f"accepted as the new baseline; it was {was}",
        fails_at=None,
    )


def _joined(judgement: Judgement) -> Judgement:
    if judgement.verdict is Verdict.INCONCLUSIVE:
        return dataclasses.replace(
            judgement,
            verdict=Verdict.NEW,
            reason="accepted as one more session of the baseline",
            fails_at=None,
        )
    return _accepted(judgement) if judgement.verdict is Verdict.NEW else judgement


def _hint(
    update: Update | None,
    measurement: Measurement,
    judgements: tuple[Judgement, ...],
    standing: BaselineComparison,
) -> str:
    known = bool(standing.sessions)
    if any(judgement.verdict is Verdict.NEW for judgement in judgements):
        return standing.ways.complete if known else standing.ways.record
    others = update is not None and standing.other_conditions
    if others or any(judgement.incomparable for judgement in judgements):
        return standing.ways.accept
    improved = ", ".join(judgement.metric for judgement in judgements if judgement.improved)
    if improved and not standing.ways.ratchets:
        return f"better than the baseline ({improved})"
    if improved:
        command = f"pytest {shlex.quote(measurement.test)} --dlperf-update=improved"
        return f"better than the baseline ({improved}): hold it with\n{command}"
    is_open = any(judgement.fails_at is not None and judgement.baseline for judgement in judgements)
    if is_open and update is None and standing.sessions < ENOUGH_SESSIONS:
        return (
            f"the baseline has {standing.sessions} of {ENOUGH_SESSIONS} sessions: "
            f"{standing.ways.grow}, and more of them make for narrower intervals"
        )
    return ""
