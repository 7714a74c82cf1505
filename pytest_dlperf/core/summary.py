"""Summary: the metrics of a load, folded from its samples and from the score of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.statistics.accuracy import wilson
from pytest_dlperf.core.statistics.blocks import MIN_BLOCKS, block_percentiles, ratio_of_sums
from pytest_dlperf.core.statistics.estimate import Estimate, counted
from pytest_dlperf.core.statistics.percentiles import required_requests

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.core.samples import Samples

BLOCKS: Final = 20
"""Stretches that a load is cut into; each holds whole batches."""

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


def summarise_load(samples: Samples, *, latencies: bool, slo: float | None = None) -> Summary:
    """Throughput, latencies and errors.

    Throughput counts good answers; latencies are theirs.

    Args:
        samples: at least one batch.
        latencies: whether the scenario gives latencies a meaning.
        slo: seconds within which an answer counts towards goodput; None measures none.
    """
    metrics: dict[str, Estimate] = {}
    refused: dict[str, str] = {}
    block = samples.blocks(BLOCKS)
    blocks = int(block.max()) + 1
    ok = samples.ok
    timed = ("throughput", *(name for name, m in METRICS.items() if m.latency and latencies))
    timed += ("goodput",) if slo is not None else ()
    if blocks < MIN_BLOCKS or not ok.any():
        few = f"{len(samples.stop)} calls in {blocks} of {BLOCKS} stretches of the run"
        why = f"{few}, at least {MIN_BLOCKS} needed: lengthen duration="
        refused = dict.fromkeys(timed, why if ok.any() else "no request was answered well")
    else:
        metrics["throughput"] = _rate(samples, block, ok)
        if slo is not None:
            metrics["goodput"] = _rate(samples, block, ok & (samples.latency_ns * _NS <= slo))
        if latencies:
            latency_ns, batch = samples.queries()
            _add_latencies(metrics, refused, latency_ns.astype(np.float64) * _NS, block[batch])
    metrics["errors"] = counted(1 - float(ok.sum()) / samples.total)
    return Summary(metrics, refused)


def _rate(samples: Samples, block: NDArray[np.intp], which: NDArray[np.bool_]) -> Estimate:
    """Requests of some kind a second."""
    counts = np.bincount(np.repeat(block, samples.size), which).astype(np.float64)
    return ratio_of_sums(counts, samples.block_seconds(block))


def _add_latencies(
    metrics: dict[str, Estimate],
    refused: dict[str, str],
    seconds: NDArray[np.float64],
    block: NDArray[np.intp],
) -> None:
    percents = {m.percentile: name for name, m in METRICS.items() if m.percentile is not None}
    # A block without a good answer has no latencies; the others are numbered anew.
    _, dense = np.unique(block, return_inverse=True)
    counts = np.bincount(dense).astype(np.float64)
    if len(counts) < MIN_BLOCKS:
        why = f"good answers in {len(counts)} of {BLOCKS} stretches of the run only"
        refused.update(dict.fromkeys((name for name, m in METRICS.items() if m.latency), why))
        return
    enough = []
    for percent, name in percents.items():
        needed = required_requests(percent)
        if len(seconds) >= needed:
            enough.append(percent)
        else:
            refused[name] = f"{len(seconds)} requests, {name} needs {needed}: lengthen duration="
    positive = np.maximum(seconds, _NS)
    estimates = block_percentiles(positive, dense, tuple(enough))
    metrics.update({percents[percent]: estimate for percent, estimate in estimates.items()})
    metrics["mean"] = ratio_of_sums(np.bincount(dense, seconds).astype(np.float64), counts)
    metrics["max"] = counted(float(seconds.max()))


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
