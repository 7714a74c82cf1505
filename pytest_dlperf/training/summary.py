"""Train summary: the metrics of trainings, from their epochs, steps and last answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.metrics import find_metric
from pytest_dlperf.statistics.block_bootstrap import ratio_of_sums
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.metrics import Metric


_STRETCHES: Final = 20
_FEWEST: Final = 2
_NS: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
    """One training, from one seed.

    Attributes:
        epochs: one after the other.
        first_step_seconds: of the first step of each size of batch.
        steps: all other ones.
        answers: what the trained model answers comes to, by metric.
    """

    epochs: tuple[Epoch, ...]
    first_step_seconds: float
    steps: Steps
    answers: Mapping[str, Estimate]


@dataclass(slots=True)
class TrainSummary:
    """What trainings came to.

    Attributes:
        metrics: what was measured.
        refused: metrics that could not be measured, with the reason.
        missed: metrics whose goal was never reached, with how near it came.
        intervals: where the intervals come from, in words.
    """

    metrics: dict[str, Estimate] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    missed: dict[str, str] = field(default_factory=dict)
    intervals: str = ""


def summarise_training(runs: Sequence[TrainingRun], goals: Iterable[Metric]) -> TrainSummary:
    """Fold the trainings of one model, one from each seed.

    A speed's interval is Student's over up to 20 stretches of the steps, as a ratio of sums. Over
    several seeds the value is the mean, and the interval is Student's over the seeds, or the mean
    of those of each seed where that is wider.

    Args:
        runs: at least one, all of as many epochs.
        goals: metrics with a goal, `train.time_to_accuracy(...)`.
    """
    summary = TrainSummary(intervals=_words(runs))
    few = len(runs[0].steps.rows)
    if few < _FEWEST:
        steps = "no step" if not few else "1 step"
        why = f"{steps} after the first one, at least {_FEWEST} needed: raise epochs"
        summary.refused.update(dict.fromkeys(("train.time", "train.throughput"), why))
    else:
        summary.metrics["train.time"] = over_seeds([_seconds(run.steps) for run in runs])
        rates = [_rate(run.steps) for run in runs]
        summary.metrics["train.throughput"] = over_seeds(rates)
    for name in runs[0].answers:
        found = over_seeds([run.answers[name] for run in runs])
        metric = find_metric(name)
        share = metric is not None and metric.unit == "share"
        summary.metrics[name] = _at_most_all(found) if share else found
    firsts = [counted(run.first_step_seconds) for run in runs]
    summary.metrics["compile_time"] = over_seeds(firsts)
    for goal in goals:
        _add_goal(summary, runs, goal)
    return summary


def over_seeds(found: Sequence[Estimate]) -> Estimate:
    """The mean over seeds, with Student's interval or the mean one of a seed, the wider one.

    Args:
        found: of each seed, not negative.
    """
    if len(found) == 1:
        return found[0]
    values = np.array([one.value for one in found])
    seeds = ratio_of_sums(values, np.ones(len(values)))
    low = float(np.mean([one.low for one in found]))
    high = float(np.mean([one.high for one in found]))
    return Estimate(seeds.value, min(seeds.low, low), max(seeds.high, high))


def reached(epochs: Iterable[Epoch], goal: float) -> float | None:
    """Seconds of training until the end of the first epoch with an accuracy; None if there is none.

    Args:
        epochs: with `val_accuracy` in their logs.
        goal: a share of one.
    """
    seconds = 0.0
    for epoch in epochs:
        seconds += epoch.seconds
        if epoch.logs["val_accuracy"] >= goal:
            return seconds
    return None


def _add_goal(summary: TrainSummary, runs: Sequence[TrainingRun], metric: Metric) -> None:
    if "val_accuracy" not in runs[0].epochs[0].logs:
        summary.refused[metric.name] = "answers and labels fit no classification"
        return
    found = []
    for seed, run in enumerate(runs):
        seconds = reached(run.epochs, metric.goal or 0.0)
        if seconds is None:
            best = max(run.epochs, key=lambda epoch: epoch.logs["val_accuracy"])
            of_seed = f" of seed {seed}" if len(runs) > 1 else ""
            summary.missed[metric.name] = (
                f"never reached: {format_quantity(best.logs['val_accuracy'], 'share')} at best, "
                f"in epoch {best.number} of {best.of}{of_seed}"
            )
            return
        found.append(_scaled(run.steps, seconds))
    summary.metrics[metric.name] = over_seeds(found)


def _scaled(steps: Steps, seconds: float) -> Estimate:
    """A part of the training's time: as uncertain as the whole of it."""
    if len(steps.rows) < _FEWEST:
        return counted(seconds)
    whole = _seconds(steps)
    part = seconds / whole.value
    return Estimate(seconds, min(seconds, whole.low * part), max(seconds, whole.high * part))


def _rate(steps: Steps) -> Estimate:
    """Rows a second."""
    rows, seconds = _stretches(steps)
    return ratio_of_sums(rows, seconds)


def _seconds(steps: Steps) -> Estimate:
    """Of all rows, as many as there are."""
    rows, seconds = _stretches(steps)
    a_row, total = ratio_of_sums(seconds, rows), float(rows.sum())
    value = steps.seconds
    return Estimate(value, min(value, a_row.low * total), max(value, a_row.high * total))


def _stretches(steps: Steps) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and seconds of each stretch, of about as many steps each."""
    parts = min(_STRETCHES, len(steps.rows))
    rows = [part.sum() for part in np.array_split(steps.rows, parts)]
    took = [part.sum() * _NS for part in np.array_split(steps.ns, parts)]
    return np.array(rows, dtype=np.float64), np.array(took, dtype=np.float64)


def _at_most_all(share: Estimate) -> Estimate:
    return Estimate(share.value, share.low, min(1.0, share.high))


def _words(runs: Sequence[TrainingRun]) -> str:
    stretches = min(_STRETCHES, len(runs[0].steps.rows))
    within = f"train.time and train.throughput: Student over {stretches} stretches of the steps"
    if len(runs) == 1:
        return within if stretches >= _FEWEST else ""
    over = f"mean and Student's interval over {len(runs)} seeds"
    return f"{over}, or the mean interval of a seed where that is wider ({within})"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the rows.

    Attributes:
        number: of it; the first one is 1.
        of: how many there will be.
        seconds: of training, without evaluating and without the first step of a size.
        logs: what Keras reports of it; and of test rows, where there are any, `val_loss` and,
            where answers are right or wrong, `val_accuracy`.
    """

    number: int
    of: int
    seconds: float
    logs: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The steps after the first one of each size of batch, in their order.

    Attributes:
        rows: that each of them saw, shape `(steps,)`; several steps that TensorFlow carries out
            in one call count as one.
        ns: how long each took, what lies between two epochs included, shape `(steps,)`.
    """

    rows: NDArray[np.int64]
    ns: NDArray[np.int64]

    @property
    def seconds(self) -> float:
        """All of them together."""
        return float(self.ns.sum()) * 1e-9

    @property
    def rows_per_second(self) -> float:
        """Of all of them together; 0 if there are none."""
        return float(self.rows.sum()) / self.seconds if self.seconds else 0.0
