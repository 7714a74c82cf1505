"""The verdicts of all rows of a comparison, at one error rate."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.judge.conditions import scaled_metrics_of
from pytest_dlperf.judge.error_rates import ALPHA, BETA
from pytest_dlperf.judge.losses import VERDICTS, LossLimits, change_by, changed_by
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.multiplicity import holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_dlperf.history.comparison import Compared, Row
    from pytest_dlperf.judge.loss_evidence import LossEvidence
    from pytest_dlperf.metrics import Metric

_HIDDEN: Final = "the noise hides a loss of this size"
_OF_THE_LOOP: Final = frozenset({"throughput", "mean", "p50"})


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A row to be decided when the number of such rows, and so the error rate, is known."""

    row: Row
    metric: Metric
    evidence: LossEvidence


def decide(drafts: Iterable[tuple[Compared, Sequence[Row | OpenRow]]]) -> Iterator[Row]:
    """The verdicts of all open rows, in order, at an error rate that they share."""
    rows = [
        (row, (compared.key, _saying(row, compared.scenario)))
        for compared, drawn in drafts
        for row in drawn
        if isinstance(row, OpenRow)
    ]
    erring = [(row, group) for row, group in rows if row.evidence.errs]
    groups = [group for _, group in erring]

    def loses(number: int, alpha: float) -> bool:
        row = erring[number][0]
        limits = LossLimits.allowing(row.metric, 0.0)
        return row.evidence.decision(limits, alpha, BETA) == "FAIL"

    def gains(number: int, alpha: float) -> bool:
        return erring[number][0].evidence.improved(alpha)

    losses, gained = (holm(groups, ALPHA, proves) for proves in (loses, gains))
    levels = zip(losses.first, losses.last, gained.last, strict=True)
    for row, _ in rows:
        if row.evidence.errs:
            yield _judged(row, *next(levels))
        else:
            alone = _judged(row, ALPHA, ALPHA, ALPHA)
            yield dataclasses.replace(alone, alpha=None, provable=None)


def _saying(row: OpenRow, scenario: str) -> str:
    """The metrics of one measurement that say the same share a name.

    In a closed loop, throughput is the number of clients over the mean latency (Little 1961).
    """
    name = row.metric.name
    if name in _OF_THE_LOOP and "throughput" in scaled_metrics_of(scenario):
        return "throughput"
    return "train.time" if name == "train.throughput" else name


def _judged(draft: OpenRow, first: float, alpha: float, gain: float) -> Row:
    row, evidence, metric = draft.row, draft.evidence, draft.metric
    verdict = VERDICTS[evidence.decision(LossLimits.allowing(metric, 0.0), alpha, BETA)]
    is_open = verdict is Verdict.INCONCLUSIVE
    return dataclasses.replace(
        row,
        change=change_by(metric, evidence.loss),
        verdict=verdict,
        improved=evidence.improved(gain),
        reason="; ".join(filter(None, (row.reason, _HIDDEN if is_open else ""))),
        fails_at=_change_seen(metric, evidence.visible(alpha)) if is_open else None,
        alpha=alpha,
        provable=_change_seen(metric, evidence.visible(first)),
    )


def _change_seen(metric: Metric, visible: float | None) -> float | None:
    """A loss that would be seen, as a change; None if it is not known or impossible."""
    if visible is None or (metric.unit == "share" and visible > 1):
        return None
    return changed_by(metric, visible)
