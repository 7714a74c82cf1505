"""Acceptance: when a measurement becomes the baseline."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.units import format_quantity
from pytest_dlperf.core.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from pytest_dlperf.core.measurement import Measurement
    from pytest_dlperf.core.options import Update


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whether a measurement becomes the baseline, and what people should know of it.

    Attributes:
        save: whether to write it.
        judgements: as they stand after the decision: what was broken only against the old
            baseline is NEW once the new one is accepted.
        hint: one sentence; empty if there is nothing to say.
    """

    save: bool
    judgements: tuple[Judgement, ...]
    hint: str


def decide_acceptance(
    update: Update | None,
    measurement: Measurement,
    judgements: tuple[Judgement, ...],
    *,
    known: bool,
) -> Acceptance:
    """Decide whether to write a measurement as the baseline.

    Never accepted: a run whose measuring failed, or one that breaks a budget that does not
    depend on the baseline.

    Args:
        update: what the user allowed.
        measurement: what was found.
        judgements: against the old baseline.
        known: whether there is a baseline already.
    """
    improved = [judgement for judgement in judgements if judgement.improved]
    wanted = (
        update == "all"
        or (update is not None and not known)
        or (update == "improved" and bool(improved))
    )
    if not wanted:
        return Acceptance(
            save=False, judgements=judgements, hint=_hint(improved, judgements, known=known)
        )
    broken = [judgement for judgement in judgements if judgement.verdict is Verdict.FAIL]
    invalid = any(judgement.verdict is Verdict.INVALID for judgement in judgements)
    missing = _missing(measurement)
    if measurement.invalid or invalid or missing:
        why = missing or measurement.invalid or "not all was measured"
        return Acceptance(save=False, judgements=judgements, hint=f"not recorded: {why}")
    if broken and (update != "all" or any(j.baseline is None for j in broken)):
        return Acceptance(
            save=False, judgements=judgements, hint=f"not recorded: {broken[0].budget} is broken"
        )
    accepted = tuple(_accepted(judgement) for judgement in judgements)
    return Acceptance(
        save=True, judgements=accepted, hint="baseline replaced" if known else "baseline recorded"
    )


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
    was = format_quantity(judgement.baseline, METRICS[judgement.metric].unit)
    return dataclasses.replace(
        judgement,
        verdict=Verdict.NEW,
        reason=f"accepted as the new baseline; it was {was}",
        fails_at=None,
    )


def _hint(improved: list[Judgement], judgements: tuple[Judgement, ...], *, known: bool) -> str:
    if any(judgement.verdict is Verdict.NEW for judgement in judgements):
        return f"record a baseline with --dlperf-update={'all' if known else 'new'}"
    if any(judgement.incomparable for judgement in judgements):
        return "accept the new conditions with --dlperf-update=all"
    if not improved:
        return ""
    names = ", ".join(judgement.metric for judgement in improved)
    return f"better than the baseline ({names}): hold it with --dlperf-update=improved"
