"""Summary: the metrics of a load, from its tally and from the score of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.statistics.accuracy import wilson
from pytest_dlperf.core.statistics.blocks import MIN_BLOCKS, ratio_of_sums
from pytest_dlperf.core.statistics.estimate import Estimate, counted
from pytest_dlperf.core.statistics.percentiles import required_requests
from pytest_dlperf.core.tally import BLOCKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.core.tally import Tally

_NS: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Score:
    """How the answers of a load scored, row by row.

    Attributes:
        answered: how often each row was answered well, shape `(rows,)`.
        right: how often it was answered rightly, shape `(rows,)`.
        loss: sum of the losses of its answers, shape `(rows,)`.
        classifies: whether there is a right and a wrong, so that there is an accuracy.
    """

    answered: NDArray[np.int64]
    right: NDArray[np.float64]
    loss: NDArray[np.float64]
    classifies: bool

    def plus(self, other: Score) -> Score:
        """The score of two loads that asked for the same rows."""
        return Score(
            answered=self.answered + other.answered,
            right=self.right + other.right,
            loss=self.loss + other.loss,
            classifies=self.classifies,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """Metrics that were measured, and those that were refused with the reason."""

    metrics: dict[str, Estimate]
    refused: dict[str, str]


def summarise_load(tally: Tally, *, latencies: bool) -> Summary:
    """Throughput, latencies and errors.

    Throughput counts good answers; latencies are theirs.

    Args:
        tally: at least one call.
        latencies: whether the scenario gives latencies a meaning.
    """
    metrics: dict[str, Estimate] = {}
    refused: dict[str, str] = {}
    blocks, good = tally.blocks, tally.good
    timed = ("throughput", *(name for name, m in METRICS.items() if m.latency and latencies))
    timed += ("goodput",) if tally.slo is not None else ()
    if len(blocks) < MIN_BLOCKS or not good:
        few = f"{tally.calls} calls in {len(blocks)} of {BLOCKS} stretches of the run"
        why = f"{few}, at least {MIN_BLOCKS} needed: lengthen duration="
        refused = dict.fromkeys(timed, why if good else "no request was answered well")
    else:
        metrics["throughput"] = _rate(tally, blocks.good)
        if tally.slo is not None:
            metrics["goodput"] = _rate(tally, blocks.within)
        if latencies:
            _add_latencies(metrics, refused, tally)
    metrics["errors"] = counted(1 - good / tally.total)
    return Summary(metrics, refused)


def _rate(tally: Tally, counts: NDArray[np.int64]) -> Estimate:
    """Requests of some kind a second."""
    seconds = tally.blocks.seconds(tally.started_ns)
    return ratio_of_sums(counts.astype(np.float64), seconds)


def _add_latencies(metrics: dict[str, Estimate], refused: dict[str, str], tally: Tally) -> None:
    percents = {m.percentile: name for name, m in METRICS.items() if m.percentile is not None}
    # A block without a good answer has no latencies.
    filled = tally.blocks.queries > 0
    if filled.sum() < MIN_BLOCKS:
        why = f"good answers in {filled.sum()} of {BLOCKS} stretches of the run only"
        refused.update(dict.fromkeys((name for name, m in METRICS.items() if m.latency), why))
        return
    enough = []
    for percent, name in percents.items():
        needed = required_requests(percent)
        if tally.queries >= needed:
            enough.append(percent)
        else:
            refused[name] = f"{tally.queries} requests, {name} needs {needed}: lengthen duration="
    estimates = tally.latencies.percentiles(tuple(enough))
    metrics.update({percents[percent]: estimate for percent, estimate in estimates.items()})
    seconds = tally.blocks.latency_ns[filled].astype(np.float64) * _NS
    metrics["mean"] = ratio_of_sums(seconds, tally.blocks.queries[filled].astype(np.float64))
    metrics["max"] = counted(tally.longest_ns * _NS)


def summarise_score(score: Score) -> dict[str, Estimate]:
    """Accuracy and loss over the distinct rows that were answered well, each row once."""
    asked = score.answered > 0
    rows = int(asked.sum())
    if not rows:
        return {}
    metrics = {}
    if score.classifies:
        shares = score.right[asked] / score.answered[asked]
        metrics["accuracy"] = wilson(float(shares.sum()), rows)
    losses = score.loss[asked] / score.answered[asked]
    if np.isfinite(losses).all():
        metrics["loss"] = (
            ratio_of_sums(losses, np.ones(rows)) if rows > 1 else counted(float(losses[0]))
        )
    return metrics
