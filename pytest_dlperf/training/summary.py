"""The metrics of trainings, from their epochs, steps and final answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.metrics import find_metric
from pytest_dlperf.statistics.blocks import ratio_of_sums
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.metrics import Metric


_GROUPS: Final = 20
_MIN_STEPS: Final = 2
_NS: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the rows.

    Attributes:
        number: from 1.
        of: number of all epochs.
        seconds: of training, without evaluation and without the first step of each batch size.
        logs: as Keras reports them; with test rows also their `val_loss` and, if answers can be
            right or wrong, `val_accuracy`.
    """

    number: int
    of: int
    seconds: float
    logs: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """All steps but the first one of each batch size, in order.

    Attributes:
        rows: of each step, shape `(steps,)`; steps that TensorFlow carries out in one call count
            as one.
        ns: duration of each step, the time between two epochs included, shape `(steps,)`.
    """

    rows: NDArray[np.int64]
    ns: NDArray[np.int64]

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return float(self.ns.sum()) * _NS

    @property
    def rows_per_second(self) -> float:
        """Of all steps; 0 without steps."""
        return float(self.rows.sum()) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
    """One training, from one seed.

    Attributes:
        epochs: in order.
        first_step_seconds: of the first step of each batch size, which traces and compiles.
        steps: all others.
        answers: metrics of the trained model's answers, by name.
    """

    epochs: tuple[Epoch, ...]
    first_step_seconds: float
    steps: Steps
    answers: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def history(self) -> dict[str, list[float]]:
        """Each of Keras' logs after each epoch."""
        names = self.epochs[0].logs
        return {name: [float(epoch.logs[name]) for epoch in self.epochs] for name in names}


@dataclass(slots=True)
class TrainSummary:
    """The metrics of trainings.

    Attributes:
        metrics: by name.
        refused: metrics that could not be measured, with the reason.
        missed: metrics whose goal was never reached, with the best value.
        intervals: how the intervals were computed, in words.
    """

    metrics: dict[str, Estimate] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    missed: dict[str, str] = field(default_factory=dict)
    intervals: str = ""


def summarise_training(runs: Sequence[TrainingRun], goals: Iterable[Metric]) -> TrainSummary:
    """Summarise the trainings of one model, one for each seed.

    A speed's interval is Student's over up to 20 groups of consecutive steps, as a ratio of sums.
    Over several seeds the value is the mean, and the interval is Student's over the seeds, or the
    mean interval of a seed where that is wider.

    Args:
        runs: at least one, all with the same number of epochs.
        goals: metrics with a goal, `train.time_to_accuracy(...)`.
    """
    summary = TrainSummary(intervals=_words(runs))
    steps = len(runs[0].steps.rows)
    if steps < _MIN_STEPS:
        few = "no step" if not steps else "1 step"
        why = f"{few} after the first one, at least {_MIN_STEPS} needed: raise epochs"
        summary.refused.update(dict.fromkeys(("train.time", "train.throughput"), why))
    else:
        summary.metrics["train.time"] = over_seeds([_seconds(run.steps) for run in runs])
        rates = [_rate(run.steps) for run in runs]
        summary.metrics["train.throughput"] = over_seeds(rates)
    for name in runs[0].answers:
        estimate = over_seeds([run.answers[name] for run in runs])
        metric = find_metric(name)
        if metric is not None and metric.unit == "share":
            estimate = Estimate(estimate.value, estimate.low, min(1.0, estimate.high))
        summary.metrics[name] = estimate
    first_steps = [counted(run.first_step_seconds) for run in runs]
    summary.metrics["compile_time"] = over_seeds(first_steps)
    for goal in goals:
        _add_goal(summary, runs, goal)
    return summary


def over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of non-negative estimates, with the wider of Student's and the mean interval."""
    if len(estimates) == 1:
        return estimates[0]
    values = np.array([estimate.value for estimate in estimates])
    seeds = ratio_of_sums(values, np.ones(len(values)))
    low = float(np.mean([estimate.low for estimate in estimates]))
    high = float(np.mean([estimate.high for estimate in estimates]))
    return Estimate(seeds.value, min(seeds.low, low), max(seeds.high, high))


def reached(epochs: Iterable[Epoch], goal: float) -> float | None:
    """Training seconds until the first epoch whose `val_accuracy` is the goal; None if none is."""
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
    estimates = []
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
        estimates.append(_scaled(run.steps, seconds))
    summary.metrics[metric.name] = over_seeds(estimates)


def _scaled(steps: Steps, seconds: float) -> Estimate:
    """A part of the training time, with the relative interval of all of it."""
    if len(steps.rows) < _MIN_STEPS:
        return counted(seconds)
    whole = _seconds(steps)
    part = seconds / whole.value
    return Estimate(seconds, min(seconds, whole.low * part), max(seconds, whole.high * part))


def _rate(steps: Steps) -> Estimate:
    rows, seconds = _groups(steps)
    return ratio_of_sums(rows, seconds)


def _seconds(steps: Steps) -> Estimate:
    """Time of all steps, with the relative interval of the time of a row."""
    rows, seconds = _groups(steps)
    a_row, total = ratio_of_sums(seconds, rows), float(rows.sum())
    value = steps.seconds
    return Estimate(value, min(value, a_row.low * total), max(value, a_row.high * total))


def _groups(steps: Steps) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and seconds of groups of consecutive steps, of about equal size."""
    count = min(_GROUPS, len(steps.rows))
    rows = [group.sum() for group in np.array_split(steps.rows, count)]
    seconds = [group.sum() * _NS for group in np.array_split(steps.ns, count)]
    return np.array(rows, dtype=np.float64), np.array(seconds, dtype=np.float64)


def _words(runs: Sequence[TrainingRun]) -> str:
    groups = min(_GROUPS, len(runs[0].steps.rows))
    within = f"train.time and train.throughput: Student over {groups} stretches of the steps"
    if len(runs) == 1:
        return within if groups >= _MIN_STEPS else ""
    over = f"mean and Student's interval over {len(runs)} seeds"
    return f"{over}, or the mean interval of a seed where that is wider ({within})"
