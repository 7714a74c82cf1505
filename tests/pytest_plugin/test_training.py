"""`dlperf.train(...)` as a user of pytest sees it, with a training without Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plugin_projects import assert_no_frame_of_ours, measuring

if TYPE_CHECKING:
    from plugin_projects import Run


CANNED = """
import contextlib
from pytest_dlperf.load.summary import Score, summarise_score
from pytest_dlperf.training.summary import Epoch, Steps, TrainingRun
from pytest_dlperf.training import train

def trained(job, plan, monitor, seed):
    epochs = tuple(
        Epoch(n, job.recipe.epochs, 0.5, {"loss": 0.4, "val_accuracy": 0.5 + 0.1 * n})
        for n in range(1, job.recipe.epochs + 1)
    )
    for epoch in epochs:
        monitor.epoch_ended(epoch)
    rows = np.arange(200)
    score = Score(np.ones(200, int), (rows >= 10 + seed).astype(float), np.full(200, 0.4), True)
    ns = 5_000_000 + 1_000 * (rows[:100] % 3)
    run = TrainingRun(epochs, 1.25, Steps(np.full(100, 32), ns), summarise_score(score))
    return train._Trained(run, score, "Keras model canned, 15 parameters", "", str(seed))

@pytest.fixture(autouse=True)
def canned(monkeypatch):
    monkeypatch.setattr(train, "_trained", trained)
    monkeypatch.setattr(train, "gpu_peaks", lambda: contextlib.nullcontext({}))

def build():
    raise NotImplementedError

"""


def test_a_training_that_holds(run: Run) -> None:
    """Judged by its budgets, and in columns of its own where nothing else was measured."""
    result = run(
        CANNED
        + """
@pytest.mark.dlperf(
    "train.time <= 1s", "train.throughput >= 6000/s", "compile_time <= 2s", "accuracy >= 90%",
    "train.time_to_accuracy(70%) <= 1.5s",
)
def test_it(dlperf):
    m = dlperf.train(build, DATA, recipe=Recipe(3))
    assert m["train.time_to_accuracy(70%)"].value == 1.0
    assert m["train.time"].value == pytest.approx(0.5, rel=1e-3)
"""
    )

    assert result.ret == 0
    result.stdout.re_match_lines(
        [
            r"measurement +train.throughput +train.time +accuracy +verdict",
            r"test_it +6,39\d/s +500 ms +95\.00 % +PASS",
            "  note: accuracy and loss are those of the training rows.*",
        ]
    )


def test_a_training_that_does_not(run: Run) -> None:
    """The report says what it was, in steps, and how near a goal came that was missed."""
    result = run(
        CANNED
        + """
@pytest.mark.dlperf("train.time <= 100ms", "train.time_to_accuracy(99%) <= 60min")
def test_it(dlperf):
    dlperf.train(build, DATA, test=DATA, recipe=Recipe(3))
"""
    )

    assert result.ret == 1
    result.stdout.re_match_lines(
        [
            r"E +train\.time <= 100ms +500 ms +100 ms +- +FAIL",
            r"E +train\.time_to_accuracy.*FAIL",
            r"E +train\.time_to_accuracy\(99%\): never reached: 80\.00 % at best, in epoch 3",
            r"E +Keras model canned, 15 parameters; train\(epochs=3\), on TensorFlow's",
            r"E +57 steps in 1\.8 s: 5 ms a step of 32 rows, the first step, with tracing",
            r"E +intervals: train\.time and train\.throughput: Student over 20 stretches",
        ]
    )


def test_a_baseline_of_seeds(run: Run, again: Run) -> None:
    """Recorded, and then compared seed by seed: the same accuracies are no loss."""
    result = run(
        CANNED
        + """
@pytest.mark.dlperf("accuracy >= baseline - 0.1pt", "train.throughput >= 0.5 * baseline")
def test_it(dlperf):
    dlperf.train(build, DATA, recipe=Recipe(3), seeds=3)
""",
        "--dlperf-update=new",
    )
    assert result.ret == 0

    result = again("--dlperf-missing=fail", "--dlperf-inconclusive=fail")

    assert result.ret == 0
    result.stdout.re_match_lines([r"test_it +6,39\d/s +500 ms +94\.50 % +PASS"])


def test_a_smoke_run(run: Run) -> None:
    """One short epoch says nothing of an accuracy: no budget on it is judged."""
    result = run(
        CANNED
        + """
@pytest.mark.dlperf("accuracy >= 99%", "train.time <= 1ms")
def test_it(dlperf):
    m = dlperf.train(build, DATA, recipe=Recipe(3))
    assert m.scenario == "train(epochs=1)"
""",
        "--dlperf-quick",
    )

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*smoke run: 1 epoch of 256 rows*"])


@pytest.mark.parametrize(
    ("budget", "call", "problem"),
    [
        ("p99 <= 1ms", ".train(build, DATA)", r"dlperf\.train\(\.\.\.\) does not measure p99"),
        ("train.time <= 1s", "(identity, DATA)", r"dlperf\(\.\.\.\) does not measure train\.time"),
        ("errors == 0", ".train(3, DATA)", "build=int builds no model"),
        ("errors == 0", ".train(build, DATA, name=3)", "name=3"),
        ("errors == 0", ".train(build, DATA, devices='tpu')", "'tpu' is no device"),
    ],
)
def test_what_makes_no_sense(run: Run, budget: str, call: str, problem: str) -> None:
    """The error is in words, without a frame of ours."""
    build = "def build():\n    raise NotImplementedError\n"
    result = run(build + measuring(f'"{budget}"', f"dlperf{call}"))

    assert result.ret == 1
    result.stdout.re_match_lines([rf"E +.*{problem}"])
    assert_no_frame_of_ours(result)
