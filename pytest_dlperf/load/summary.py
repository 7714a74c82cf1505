"""Metrics of a load, from its totals and from the scores of its answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.load.totals import BLOCKS
from pytest_dlperf.metrics import METRICS, metric_named
from pytest_dlperf.statistics.blocks import MIN_BLOCKS, ratio_of_sums
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.histogram import ERROR
from pytest_dlperf.statistics.percentiles import mean, percentiles, required_requests
from pytest_dlperf.statistics.proportions import are_bits, wilson
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.load.totals import LoadTotals
    from pytest_dlperf.statistics.percentiles import Percentile
    from pytest_dlperf.statistics.run_values import Values

_NS: Final = 1e-9
_LONG: Final = 3600.0
_MARGIN: Final = 1.5  # of a longer run, whose requests may hang together more


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of the answers of a load, by row.

    An answer that is not finite, or of another shape, is a wrong answer. So is that of a row whose
    requests all failed: a target that gives up on hard rows must not gain accuracy by it. Rows
    that the target was never asked, because the load was too short or its queue was full, are left
    out.

    Attributes:
        answered: number of good answers to each row, shape `(rows,)`.
        right: number of correct answers to each row, shape `(rows,)`; of right positions in them,
            where rows have positions.
        loss: sum of the losses of each row's answers, shape `(rows,)`; None without a loss.
        classifies: whether answers are right or wrong, so that there is an accuracy.
        by_user: sums of the scores of users' metrics, shape `(rows,)`, by metric name.
        unusable: number of answers to each row that are not finite or of another shape, shape
            `(rows,)`; None if there are none.
        failed: number of requests with each row that raised, shape `(rows,)`; None if none did.
        distinct: the number of each row's content, shape `(rows,)`; None if all rows differ.
        positions: number of positions of each row that are right or wrong, such as the tokens of a
            text, shape `(rows,)`; None if rows are.
    """

    answered: NDArray[np.int64]
    right: NDArray[np.float64]
    loss: NDArray[np.float64] | None
    classifies: bool
    by_user: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    unusable: NDArray[np.int64] | None = None
    failed: NDArray[np.int64] | None = None
    distinct: NDArray[np.int64] | None = None
    positions: NDArray[np.int64] | None = None

    @property
    def answers(self) -> NDArray[np.int64]:
        """Number of answers to each row, good or not, shape `(rows,)`."""
        return self.answered if self.unusable is None else self.answered + self.unusable

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Whether the target was asked each row, shape `(rows,)`."""
        requests = self.answers if self.failed is None else self.answers + self.failed
        return requests > 0

    @property
    def right_shares(self) -> NDArray[np.float64]:
        """Share of the answers to each row that are right, 0 without any, shape `(rows,)`.

        Of rows with positions, the share of these.
        """
        judged = self.answers if self.positions is None else self.answers * self.positions
        return self.right / np.maximum(judged, 1)

    @property
    def metrics(self) -> frozenset[str]:
        """Names of the metrics that these scores allow."""
        built_in = {"accuracy": self.classifies, "loss": self.loss is not None}
        return frozenset([*(name for name, there in built_in.items() if there), *self.by_user])

    def plus(self, other: Score) -> Score:
        """The scores of two loads over the same rows."""
        return Score(
            answered=self.answered + other.answered,
            right=self.right + other.right,
            loss=None if self.loss is None or other.loss is None else self.loss + other.loss,
            classifies=self.classifies,
            by_user={name: self.by_user[name] + other.by_user[name] for name in self.by_user},
            unusable=_sum(self.unusable, other.unusable),
            failed=_sum(self.failed, other.failed),
            distinct=self.distinct,
            positions=self.positions,
        )

    def of_distinct_rows(self) -> tuple[Score, NDArray[np.int64] | None]:
        """The scores by distinct row, and how many rows that were asked are copies of each.

        The number of copies is None if all rows differ.
        """
        if self.distinct is None:
            return self, None
        number = self.distinct

        _, first = np.unique(number, return_index=True)

        def summed(of_rows: NDArray[Any]) -> NDArray[Any]:
            return np.bincount(number, of_rows).astype(of_rows.dtype)

        merged = Score(
            answered=summed(self.answered),
            right=summed(self.right),
            loss=None if self.loss is None else summed(self.loss),
            classifies=self.classifies,
            by_user={name: summed(scores) for name, scores in self.by_user.items()},
            unusable=None if self.unusable is None else summed(self.unusable),
            failed=None if self.failed is None else summed(self.failed),
            positions=None if self.positions is None else self.positions[first],
        )
        return merged, np.bincount(number, self.asked).astype(np.int64)

    def row_scores(self, name: str) -> NDArray[np.float64]:
        """Mean score of each row in a user's metric, shape `(rows,)`.

        Of a share, an answer that is none has the worst score there is. NaN for rows that were not
        asked, and without a share for those without a good answer.
        """
        metric = metric_named(name)
        scores = np.full(len(self.answered), np.nan)
        if metric.unit != "share":
            np.divide(self.by_user[name], self.answered, out=scores, where=self.answered > 0)
            return scores
        worst = 0.0 if metric.better == "higher" else 1.0
        scores[self.asked] = worst
        sums = self.by_user[name] + worst * (self.answers - self.answered)
        np.divide(sums, self.answers, out=scores, where=self.answers > 0)
        return scores


def _sum(
    one: NDArray[np.int64] | None, other: NDArray[np.int64] | None
) -> NDArray[np.int64] | None:
    return (one if other is None else other) if one is None or other is None else one + other


@dataclass(frozen=True, slots=True)
class Summary:
    """Measured metrics, and the reason for each metric that cannot be given.

    Attributes:
        metrics: estimates by name.
        refused: reasons by name.
        unbounded: what estimates need whose upper bound the run is too short for.
        longer: how many times as long the load had to be for that, roughly.
        at_least: of refused metrics, what they exceed for certain.
    """

    metrics: dict[str, Estimate]
    refused: dict[str, str]
    unbounded: dict[str, str] = field(default_factory=dict)
    longer: dict[str, float] = field(default_factory=dict)
    at_least: dict[str, float] = field(default_factory=dict)


def summarise_load(totals: LoadTotals, *, latencies: bool) -> Summary:
    """Throughput, latencies and errors of a load with at least one call.

    Throughput and latencies are of good answers; `latencies` says whether they have a meaning in
    the scenario.
    """
    summary = Summary({}, {})
    metrics, refused = summary.metrics, summary.refused
    blocks, good = totals.blocks, totals.good
    timed = ("throughput", *(name for name, m in METRICS.items() if m.latency and latencies))
    timed += ("goodput",) if totals.slo is not None else ()
    if len(blocks) < MIN_BLOCKS or not good:
        few = f"{totals.calls} calls in {len(blocks)} of {BLOCKS} intervals of the run"
        why = f"{few}, at least {MIN_BLOCKS} needed: lengthen duration="
        refused.update(dict.fromkeys(timed, why if good else "no request was answered well"))
    else:
        share = np.float64(good / (good + totals.spoiled))
        metrics["throughput"] = _rate(totals, blocks.good * share)
        if totals.slo is not None:
            metrics["goodput"] = _rate(totals, blocks.within * share)
        if latencies:
            _add_latencies(summary, totals)
    metrics["errors"] = counted(1 - good / totals.total)
    return summary


def _rate(totals: LoadTotals, counts: NDArray[np.float64]) -> Estimate:
    """Rate of the requests counted in each block."""
    seconds = totals.blocks.seconds(totals.started_ns)
    # After the last request of an open loop has come, answers of requests in flight follow.
    return ratio_of_sums(counts, seconds * totals.counted_ns / totals.span_ns)


def _add_latencies(summary: Summary, totals: LoadTotals) -> None:
    # Blocks without a good answer have no latencies.
    filled = totals.blocks.queries > 0
    if filled.sum() < MIN_BLOCKS:
        why = f"good answers in {filled.sum()} of {BLOCKS} intervals of the run only"
        latencies = (name for name, m in METRICS.items() if m.latency)
        summary.refused.update(dict.fromkeys(latencies, why))
        return
    unanswered = totals.unanswered
    values = totals.latencies.seconds(unanswered)
    _add_percentiles(summary, totals, values)
    longest = totals.longest_ns * _NS
    if not unanswered.queries:
        # Exactly the mean, also of latencies that were counted in bins.
        exact = float(totals.blocks.latency_ns.sum()) * _NS / totals.queries
        around = mean(values)
        low, high = exact - (around.value - around.low), exact + (around.high - around.value)
        summary.metrics["mean"] = Estimate(exact, max(0.0, low), high)
        summary.metrics["max"] = counted(longest)
        return
    waited = unanswered.waited_ns * _NS
    answered = float(totals.blocks.latency_ns.sum()) * _NS
    least = answered + waited * unanswered.queries
    least /= totals.queries + unanswered.queries
    for name, value in (("mean", least), ("max", waited)):
        summary.at_least[name] = value
        summary.refused[name] = _unanswered(totals)


def _add_percentiles(summary: Summary, totals: LoadTotals, values: Values) -> None:
    percents = {m.percentile: name for name, m in METRICS.items() if m.percentile is not None}
    unanswered = totals.unanswered
    count = totals.queries + unanswered.queries
    enough = []
    for percent, name in percents.items():
        needed = required_requests(percent)
        if count >= needed:
            enough.append(percent)
        else:
            why = f"{count} requests, {name} needs {needed}: lengthen duration="
            summary.refused[name] = why
    waited = unanswered.waited_ns * _NS
    for percent, found in percentiles(values, tuple(enough)).items():
        name = percents[percent]
        if int(count * percent / 100) >= totals.queries:
            summary.at_least[name] = waited
            summary.refused[name] = _unanswered(totals)
        elif found.high is None or (unanswered.queries and found.high >= waited * (1 - ERROR)):
            # Nothing shows that a target which does not keep up ends anywhere.
            grows = unanswered.queries or not _is_bounded(totals)
            high = math.inf if grows else found.far
            summary.metrics[name] = Estimate(found.value, found.low, high)
            summary.unbounded[name] = _too_short(totals, name, found)
            summary.longer[name] = found.longer
        else:
            summary.metrics[name] = Estimate(found.value, found.low, found.high)


def _is_bounded(totals: LoadTotals) -> bool:
    """Whether latencies do not grow with the duration: a full queue rejects what comes."""
    return totals.kept_up or totals.rejected > 0


def _unanswered(totals: LoadTotals) -> str:
    return (
        f"{totals.unfinished:,} of {totals.total:,} requests had no answer when the run ended, and "
        "count as later than all others"
    )


def _too_short(totals: LoadTotals, name: str, found: Percentile) -> str:
    if not _is_bounded(totals):
        return f"the target is slower than the load, so that {name} grows with its duration"
    seconds = found.longer * _MARGIN * totals.span_ns * _NS
    if seconds > _LONG:
        return f"late requests came together, so seldom that {name} has no bound in an hour's load"
    needed = format_quantity(float(f"{max(seconds, 1.0):.1g}"), "s")
    return f"late requests came together: {name} needs about {needed} of this load for a bound"


def summarise_score(score: Score) -> dict[str, Estimate]:
    """Metrics of the answers, each row once; none if there was no good answer.

    Shares are over the rows that the target was asked, other metrics over those with a good
    answer. Rows with the same content are one row for the interval. Accuracy and loss of rows with
    positions are over all positions; for the interval, those of a row are one piece of evidence.
    """
    score, copies = score.of_distinct_rows()
    answered = score.answered > 0
    if not answered.any():
        return {}
    weights = np.ones(len(answered)) if copies is None else copies.astype(np.float64)
    metrics = {}
    for name in score.by_user:
        scores = score.row_scores(name)
        known = ~np.isnan(scores)
        metrics[name] = mean_score(name, scores[known], weights[known])
    if score.positions is not None:
        weights = weights * score.positions
        answered = answered & (score.positions > 0)
    asked = score.asked & (weights > 0)
    if score.classifies and asked.any():
        metrics["accuracy"] = _share(score.right_shares[asked], weights[asked])
    if score.loss is not None and answered.any():
        losses = score.loss[answered] / score.answered[answered]
        if np.isfinite(losses).all():
            metrics["loss"] = _mean(losses, weights[answered])
    return metrics


def mean_score(
    name: str, scores: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> Estimate:
    """A user's metric over at least one row, all of equal weight by default.

    With Wilson's interval if all scores are 0 or 1, else Student's.
    """
    weights = np.ones(len(scores)) if weights is None else weights
    share = metric_named(name).unit == "share"
    if are_bits(scores):
        return _share(scores, weights)
    if share and len(scores) == 1:
        return Estimate(float(scores[0]), 0.0, 1.0)
    score = _mean(scores, weights)
    return Estimate(score.value, score.low, min(1.0, score.high)) if share else score


def _share(shares: NDArray[np.float64], weights: NDArray[np.float64]) -> Estimate:
    """The mean of shares with Wilson's interval, for as many rows as the weights are worth.

    That is `(sum w)^2 / sum w^2` (Kish 1965).
    """
    total = float(weights.sum())
    rows = total * total / float((weights * weights).sum())
    return wilson(min(rows, float((shares * weights).sum()) * rows / total), rows)


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> Estimate:
    if len(values) == 1:
        return counted(float(values[0]))
    return ratio_of_sums(values * weights, weights)
