"""Train summary: the figures of trainings, against known answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from pytest_dlperf.metrics import metric_named
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.training.summary import (
    Epoch,
    Steps,
    TrainingRun,
    over_seeds,
    reached,
    summarise_training,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TO_90 = metric_named("train.time_to_accuracy(90%)")
MILLISECOND = 1_000_000


def epochs(*accuracies: float, seconds: float = 1.0) -> tuple[Epoch, ...]:
    """Epochs with these accuracies of the test rows."""
    return tuple(
        Epoch(number, len(accuracies), seconds, {"loss": 1.0, "val_accuracy": accuracy})
        for number, accuracy in enumerate(accuracies, 1)
    )


def steps_of(took_ms: Sequence[float], rows: int = 32) -> Steps:
    """Steps that took so long."""
    ns = np.array(took_ms) * MILLISECOND
    return Steps(np.full(len(ns), rows), ns.astype(np.int64))


def run(
    took_ms: Sequence[float] = (2.0,) * 40,
    accuracies: Sequence[float] = (0.8, 0.92, 0.95),
    accuracy: Estimate | None = None,
) -> TrainingRun:
    """A training."""
    share = counted(accuracies[-1]) if accuracy is None else accuracy
    return TrainingRun(epochs(*accuracies), 0.5, steps_of(took_ms), {"accuracy": share})


def test_steps_that_all_take_as_long() -> None:
    """40 steps of 32 rows at 2 ms: 80 ms and 16,000 rows a second, without any doubt."""
    summary = summarise_training([run()], [])

    assert summary.metrics["train.time"].value == pytest.approx(0.08)
    assert summary.metrics["train.throughput"].value == pytest.approx(16_000)
    assert summary.metrics["train.time"].high == pytest.approx(0.08)
    assert summary.metrics["compile_time"] == counted(0.5)
    assert summary.metrics["accuracy"] == counted(0.95)
    assert not summary.refused
    assert not summary.missed


def test_the_interval_is_students_over_stretches() -> None:
    """Of equal rows, the time of a stretch is a plain mean: scipy has its interval."""
    took = np.random.default_rng(3).uniform(1, 3, 40)
    stretches = took.reshape(20, 2).sum(axis=1) * 1e-3
    low, high = stats.t.interval(0.95, 19, stretches.mean(), stats.sem(stretches))

    time = summarise_training([run(took)], []).metrics["train.time"]

    assert time.low == pytest.approx(20 * low, rel=1e-5)
    assert time.high == pytest.approx(20 * high, rel=1e-5)


def test_seconds_and_rows_a_second_are_of_the_same_steps() -> None:
    """Their product is all rows, whatever the steps; a shorter last batch counts as it is."""
    steps = Steps(np.array([32, 32, 10] * 5), np.arange(1, 16) * MILLISECOND)
    metrics = summarise_training([TrainingRun(epochs(0.9), 0.1, steps, {})], []).metrics

    both = metrics["train.time"].value * metrics["train.throughput"].value
    assert both == pytest.approx(steps.rows.sum())


@pytest.mark.parametrize(("steps", "steps_"), [(0, "no step"), (1, "1 step")])
def test_too_few_steps(steps: int, steps_: str) -> None:
    """Where there was nothing but the first step, there is no speed, and the reason is told."""
    summary = summarise_training([run([1.0] * steps)], [])

    assert set(summary.refused) == {"train.time", "train.throughput"}
    assert summary.refused["train.time"].startswith(f"{steps_} after the first one")
    assert "accuracy" in summary.metrics


def test_several_seeds_are_a_mean_with_students_interval() -> None:
    """Scipy has it, where the interval within a seed is narrower."""
    accuracies = [0.94, 0.95, 0.97]
    low, high = stats.t.interval(0.95, 2, np.mean(accuracies), stats.sem(accuracies))
    runs = [run(accuracy=counted(accuracy)) for accuracy in accuracies]

    mean = summarise_training(runs, []).metrics["accuracy"]

    assert mean.value == pytest.approx(np.mean(accuracies))
    assert (mean.low, mean.high) == pytest.approx((low, high))


def test_the_wider_interval_counts() -> None:
    """Seeds that agree to the digit do not make a few rows into many."""
    alike = [Estimate(0.95, 0.90, 0.97)] * 3

    assert over_seeds(alike).value == pytest.approx(0.95)
    assert (over_seeds(alike).low, over_seeds(alike).high) == pytest.approx((0.90, 0.97))


def test_a_share_is_no_more_than_all_of_it() -> None:
    """Student's interval over two seeds would go far beyond."""
    runs = [run(accuracy=counted(0.91)), run(accuracy=counted(0.99))]

    assert summarise_training(runs, []).metrics["accuracy"].high == 1.0


def test_time_to_an_accuracy() -> None:
    """Until the end of the first epoch that has it, even if a later one has it no more."""
    assert reached(epochs(0.5, 0.91, 0.85, seconds=2.0), 0.9) == 4.0
    assert reached(epochs(0.5, 0.9), 0.9) == 2.0
    assert reached(epochs(0.5, 0.89), 0.9) is None

    summary = summarise_training([run()], [TO_90])

    assert summary.metrics[TO_90.name].value == pytest.approx(2.0)


def test_a_goal_is_as_uncertain_as_the_time() -> None:
    """Half of the steps' time has half of its interval."""
    took = np.random.default_rng(3).uniform(1, 3, 40)
    trained = run(took)
    whole = summarise_training([trained], []).metrics["train.time"]
    half = TrainingRun(epochs(0.95, seconds=whole.value / 2), 0.1, trained.steps, {})

    half_time = summarise_training([half], [TO_90]).metrics[TO_90.name]

    assert half_time.high - half_time.low == pytest.approx((whole.high - whole.low) / 2)


def test_a_goal_that_is_never_reached() -> None:
    """It is missed, not measured; what came nearest is told, with the seed."""
    worse = run(accuracies=(0.5, 0.89, 0.7))

    assert summarise_training([worse], [TO_90]).missed == {
        TO_90.name: "never reached: 89.00 % at best, in epoch 2 of 3"
    }
    several = summarise_training([run(), worse], [TO_90])
    assert several.missed[TO_90.name].endswith("in epoch 2 of 3 of seed 1")
    assert TO_90.name not in several.metrics


def test_a_goal_of_what_is_neither_right_nor_wrong() -> None:
    """A regression has no accuracy to reach."""
    regression = TrainingRun((Epoch(1, 1, 1.0, {"loss": 1.0}),), 0.1, steps_of([1.0] * 3), {})

    assert TO_90.name in summarise_training([regression], [TO_90]).refused
