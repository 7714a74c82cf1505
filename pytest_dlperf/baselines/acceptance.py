"""Acceptance: when a measurement becomes the baseline, or its next session."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.judge.judge import prediction_of
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.hints import OF_FILES, BaselineAdvice, hold_gain, record_again
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
"""A baseline with fewer sessions is young: `--dlperf-update=new` adds to it."""


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """How a measurement relates to the stored baseline.

    Attributes:
        sessions: how many the baseline has; 0 if there is none.
        unchanged: whether noise explains every difference; see `unchanged`.
        noise: what disturbed the machine, if too much for a session to count.
        other_conditions: whether it was measured under other conditions.
        anchored: whether the baseline has an anchor.
        distortion: why speeds of this run are not those of the code; empty if they are.
        advice: what users can do about the baseline.
    """

    sessions: int = 0
    unchanged: bool = False
    noise: str = ""
    other_conditions: bool = False
    anchored: bool = False
    distortion: str = ""
    advice: BaselineAdvice = OF_FILES


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whether a measurement becomes the baseline.

    Attributes:
        keep: whether to write it, and whether earlier sessions stay.
        judgements: after the decision: a FAIL against the old baseline only is NEW once the new
            one is accepted.
        hint: one sentence, and perhaps a command on a line of its own; may be empty.
        caution: a warning about the new baseline; may be empty.
    """

    keep: Keeping
    judgements: tuple[Judgement, ...]
    hint: str
    caution: str = ""


def in_ci(variables: Mapping[str, str]) -> bool:
    """Whether the environment is that of CI, where nothing is accepted unless forced."""
    return variables.get("CI", "").lower() not in {"", "0", "false"}


def decide_acceptance(
    update: Update | None,
    measurement: Measurement,
    judgements: tuple[Judgement, ...],
    comparison: BaselineComparison,
) -> Acceptance:
    """Decide whether to write a measurement as the baseline.

    Never accepted: a run whose measuring failed, one under a debugger that could not be suspended,
    or one that breaks a budget that does not depend on the baseline. A session of a noisy machine
    is accepted only as the first one, with a caution. `judgements` and `comparison` are against
    the old baseline.
    """
    if comparison.distortion:
        hint = f"not recorded: {comparison.distortion}" if update else ""
        return Acceptance("", judgements, hint)
    keep = _wanted(update, measurement, judgements, comparison)
    if not keep:
        return Acceptance("", judgements, _hint(update, measurement, judgements, comparison))
    obstacle = _obstacle(update, measurement, judgements, comparison)
    if obstacle:
        return Acceptance("", judgements, f"not recorded: {obstacle}")
    if keep == "renew":
        hint, caution = _renewed(comparison)
        accepted = tuple(_accepted(judgement, measurement) for judgement in judgements)
        return Acceptance(keep, accepted, hint, caution)
    number = min(comparison.sessions + 1, MOST_SESSIONS)
    joined = judgements
    if update == "all":
        joined = tuple(_joined(judgement, measurement) for judgement in judgements)
    return Acceptance(keep, joined, f"session {number} of the baseline recorded")


def _wanted(
    update: Update | None,
    measurement: Measurement,
    judgements: tuple[Judgement, ...],
    comparison: BaselineComparison,
) -> Keeping:
    """What the user's `update` allows, whatever the measurement itself."""
    if update is None:
        return ""
    if not comparison.sessions:
        return "renew"
    if update == "improved" and any(judgement.improved for judgement in judgements):
        return "renew"
    other = comparison.other_conditions or any(judgement.incomparable for judgement in judgements)
    failed = any(judgement.verdict is Verdict.FAIL for judgement in judgements)
    same = comparison.unchanged and not other and not failed
    if update == "all":
        return "follow" if same else "renew"
    incomplete = _brings_metrics(measurement, judgements)
    young = comparison.sessions < ENOUGH_SESSIONS
    return "follow" if same and young and not incomplete else ""


def _brings_metrics(measurement: Measurement, judgements: tuple[Judgement, ...]) -> bool:
    """Whether a measurement has metrics that the baseline lacks and could take over."""
    return any(
        judgement.verdict is Verdict.NEW and judgement.metric not in measurement.unbounded
        for judgement in judgements
    )


def _obstacle(
    update: Update | None,
    measurement: Measurement,
    judgements: tuple[Judgement, ...],
    comparison: BaselineComparison,
) -> str:
    """Why the measurement cannot be a baseline; empty if it can."""
    missing = _missing(measurement)
    if missing or measurement.invalid:
        return missing or measurement.invalid
    if any(judgement.verdict is Verdict.INVALID for judgement in judgements):
        return "not all was measured"
    for name in (judgement.metric for judgement in judgements):
        if name in measurement.at_least:
            return f"{name} is not known: {measurement.refused[name]}"
    broken = [judgement for judgement in judgements if judgement.verdict is Verdict.FAIL]
    if broken and (update != "all" or any(judgement.baseline is None for judgement in broken)):
        return f"{broken[0].budget} is broken"
    return comparison.noise if comparison.sessions else ""


def _missing(measurement: Measurement) -> str:
    """Why no later measurement could be compared with this one; empty if one could."""
    max_rate = measurement.metrics.get("max_rate")
    if max_rate is not None and not max_rate.value:
        return "no rate held the limit"
    refused = measurement.refused
    return refused.get("throughput") or refused.get("max_rate") or ""


def _renewed(comparison: BaselineComparison) -> tuple[str, str]:
    """The hint and the caution of the first session of a baseline."""
    if comparison.sessions:
        moved = comparison.other_conditions and comparison.anchored
        anchor = ", and its anchor with it, since the conditions are others" if moved else ""
        return f"baseline replaced{anchor}", ""
    if not comparison.noise:
        return "baseline recorded", ""
    # How busy it was is in the report; without it, many tests share one hint.
    caution = f"the baseline was recorded although {comparison.noise.partition(':')[0]}"
    return record_again(caution), caution


def _accepted(judgement: Judgement, measurement: Measurement) -> Judgement:
    unbounded = measurement.unbounded.get(judgement.metric)
    if unbounded and judgement.verdict is Verdict.NEW:
        return dataclasses.replace(judgement, reason=f"not part of the baseline: {unbounded}")
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
        proven=None,
    )


def _joined(judgement: Judgement, measurement: Measurement) -> Judgement:
    if judgement.verdict is Verdict.INCONCLUSIVE and judgement.metric not in measurement.unbounded:
        return dataclasses.replace(
            judgement,
            verdict=Verdict.NEW,
            reason="accepted as one more session of the baseline",
            fails_at=None,
        )
    return _accepted(judgement, measurement) if judgement.verdict is Verdict.NEW else judgement


def _hint(
    update: Update | None,
    measurement: Measurement,
    judgements: tuple[Judgement, ...],
    comparison: BaselineComparison,
) -> str:
    advice = comparison.advice
    first = not comparison.sessions and any(one.verdict is Verdict.NEW for one in judgements)
    if first or _brings_metrics(measurement, judgements):
        return advice.record if first else advice.complete
    other = update is not None and comparison.other_conditions
    if other or any(judgement.incomparable for judgement in judgements):
        return advice.accept
    improved = ", ".join(judgement.metric for judgement in judgements if judgement.improved)
    if improved and not advice.ratchets:
        return f"better than the baseline ({improved})"
    if improved:
        return hold_gain(improved, measurement.test)
    is_open = any(judgement.fails_at is not None and judgement.baseline for judgement in judgements)
    if is_open and update is None and comparison.sessions < ENOUGH_SESSIONS:
        return (
            f"the baseline has {comparison.sessions} of {ENOUGH_SESSIONS} sessions: "
            f"{advice.grow}, and more of them make for narrower intervals"
        )
    return ""


def unchanged(
    measurement: Measurement,
    budgets: Iterable[Budget],
    baseline: BaselineEntry | None,
    conditions: MachineConditions,
) -> bool:
    """Whether a session is one more of the same code, as far as its budgets can tell.

    It is not if a metric with a relative budget differs from the sessions before it in either
    direction, even by an allowed amount: a mean over different code predicts nothing.
    """
    if baseline is None or conditions.speed_changed:
        return False
    compared = {
        budget.metric.name: budget.metric
        for budget in budgets
        if budget.relative
        and budget.metric.unit != "share"
        and budget.metric.name in measurement.metrics
        and budget.metric.name not in measurement.unbounded
        and any(budget.metric.name in session.metrics for session in baseline.sessions)
    }
    alpha = conditions.alpha
    losses = (
        prediction_of(metric, measurement, baseline, conditions) for metric in compared.values()
    )
    return all(loss.low(alpha) <= 0 <= loss.high(alpha) for loss in losses)
