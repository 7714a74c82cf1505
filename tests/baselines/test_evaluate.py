"""Runs of one test against its stored baseline, with made-up measurements."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT, MACHINE, estimate, make_measurement, revision_on

from pytest_dlperf.baselines.acceptance import ENOUGH_SESSIONS
from pytest_dlperf.baselines.evaluate import BaselineEvaluator
from pytest_dlperf.baselines.source import baselines_of_files
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.machine_noise import MachineNoise
from pytest_dlperf.results.usage import Consumption
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_dlperf.config.options import Update
    from pytest_dlperf.measure.evaluator import Evaluation
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.measurement import Measurement

PLAN = plan([Options(budgets=("throughput >= 0.5 * baseline",))])
TEST = make_measurement().test


class MadeUp:
    """A subject with a given measurement."""

    def __init__(self, measurement: Measurement) -> None:
        self._measurement = measurement

    def measure(self, test: str, name: str, seconds: float) -> Measurement:
        """The given measurement."""
        assert seconds > 0
        return dataclasses.replace(self._measurement, test=test, name=name)

    def warm_up(self) -> str:
        """Not used."""
        raise NotImplementedError

    def slots(self) -> None:
        """It has none."""


class Life:
    """Runs of one test, one after the other.

    Args:
        root: pytest's root folder.
    """

    def __init__(self, root: Path) -> None:
        self._baselines = baselines_of_files(root, MACHINE, "")
        self._runs = 0

    def run(
        self,
        update: Update | None = None,
        throughput: float = 1000.0,
        **fields: Any,  # noqa: ANN401 - any field
    ) -> Evaluation:
        """Run it once, and accept as a passing test does."""
        self._runs += 1
        metrics = {"throughput": estimate(throughput, 0.005), "errors": counted(0.0)}
        measurement = make_measurement(metrics, **fields)
        evaluator = BaselineEvaluator(
            baselines=self._baselines,
            environment=lambda: ENVIRONMENT,
            revision=lambda: dataclasses.replace(
                revision_on(self._runs), commit=f"commit{self._runs}"
            ),
            update=update,
            rates=lambda: ErrorRates(1),
            yardstick=lambda: None,
            reachable=lambda _: False,
            noise=MachineNoise,
            second=None,
        )
        evaluation = evaluator.evaluate(contextlib.nullcontext(MadeUp(measurement)), PLAN, TEST, "")
        if evaluation.accepted is not None:
            evaluator.accept(TEST, "", evaluation.accepted)
        return evaluation

    @property
    def accepted(self) -> BaselineEntry:
        """The stored entry."""
        baseline = self._baselines.store.load(TEST)
        assert baseline is not None
        return baseline.accepted[""]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """No runs yet."""
    return Life(tmp_path)


def _crept(evaluation: Evaluation) -> bool:
    """Whether a gradual loss is reported, in a note and in a warning."""
    notes = evaluation.record.measurement.notes
    reported = any("the anchor of" in note for note in notes)
    assert reported is any("the anchor of" in caution for caution in evaluation.cautions)
    return reported


@pytest.mark.parametrize("seed", range(5))
def test_ten_accepted_changes(life: Life, seed: int) -> None:
    """Ten changes of 2 % that were all accepted are reported, at the latest in the next run."""
    noise = np.random.default_rng(seed)
    life.run("new")
    reported = False
    for change in range(1, 11):
        level = 1000.0 * 0.98**change * math.exp(noise.normal(0, 0.005))
        evaluation = life.run("all", level)
        assert evaluation.record.verdict != "FAIL"
        reported = reported or _crept(evaluation)

    assert life.accepted.anchor is not None
    assert life.accepted.anchor.revision.commit == "commit1"
    assert reported or _crept(life.run(None, 1000.0 * 0.98**10))
    assert reported or life.accepted.changes


def test_unchanged_code_does_not_creep(tmp_path: Path) -> None:
    """Unchanged code whose sessions differ by 5 % is hardly ever reported."""
    noise = np.random.default_rng(11)
    reported = 0
    for number in range(20):
        life = Life(tmp_path / str(number))
        nights = (life.run("new", 1000.0 * math.exp(noise.normal(0, 0.05))) for _ in range(10))
        reported += sum(map(_crept, nights)) > 0
    assert reported <= 1


def test_a_moved_anchor_is_quiet(life: Life) -> None:
    """Once the loss is accepted, nothing is reported until there is another."""
    life.run("new")
    life.run("all", 600.0)
    assert _crept(life.run(None, 600.0))

    stored = life.accepted
    life._baselines.store.save(TEST, "", stored.anchored())  # noqa: SLF001 - as the program does

    assert not _crept(life.run(None, 600.0))
    assert life.accepted.changes == 0


def test_a_replaced_baseline_is_a_diff(life: Life) -> None:
    """The hint has the old and new values and the difference; another session is no change."""
    life.run("new")
    assert life.run("new", 1001.0).record.hints == ("session 2 of the baseline recorded",)

    (hint,) = life.run("all", 1500.0).record.hints

    assert hint.splitlines() == ["baseline replaced", "throughput 1,000/s -> 1,500/s (+49.9 %)"]


def test_other_conditions(life: Life) -> None:
    """They are not compared with earlier sessions, and have an anchor of their own."""
    life.run("new")

    evaluation = life.run("all", 100.0, serving="Serving(replicas=2)")

    (hint,) = evaluation.record.hints
    assert "and its anchor with it" in hint
    assert "serving Serving() -> Serving(replicas=2)" in hint
    assert not _crept(evaluation)
    assert life.accepted.anchor == life.accepted.newest


@pytest.mark.parametrize("update", [None, "new", "all"])
def test_what_was_not_measured_does_not_creep(life: Life, update: Update | None) -> None:
    """A run that is INVALID, or under other conditions, says nothing of the anchor."""
    life.run("new")
    life.run("all", 600.0)

    assert not _crept(life.run(update, 600.0, invalid="the generator was late"))
    assert not _crept(life.run(None, 600.0, scenario="Offline()"))
    assert _crept(life.run(None, 600.0))


def test_a_sudden_loss_does_not_creep(life: Life) -> None:
    """A loss in one step, judged or allowed by the budget, is no gradual loss."""
    life.run("new")

    assert not _crept(life.run(None, 600.0))
    assert not _crept(life.run(None, 100.0))


def test_a_settled_baseline(life: Life) -> None:
    """Unchanged sessions join a young baseline; then `new` leaves it as it is."""
    for _ in range(ENOUGH_SESSIONS + 2):
        life.run("new")

    assert len(life.accepted.sessions) == ENOUGH_SESSIONS
    life.run("all")
    assert len(life.accepted.sessions) == ENOUGH_SESSIONS + 1


def test_a_busy_first_session(life: Life) -> None:
    """It is recorded with a warning; the next one is simply not recorded."""
    busy = Consumption(0.001, 1.0, 1, 1, others=0.3, stolen=None)

    first = life.run("new", usage=busy)
    second = life.run("new", usage=busy)

    (caution,) = first.cautions
    assert caution == "the baseline was recorded although the machine was not quiet"
    assert first.record.hints[0].startswith(caution)
    assert second.cautions == ()
    assert second.record.hints[0].startswith("not recorded: the machine was not quiet")


def test_what_another_day_would_bring(life: Life) -> None:
    """The hint of an open budget says from which change on it would be a FAIL then."""
    life.run("new")
    evaluation = life.run(None, 480.0)
    (judgement, _) = evaluation.record.judgements
    assert judgement.fails_at is not None
    now = judgement.fails_at / 1000 - 1

    (hint,) = evaluation.record.hints

    words = re.search(r"with one of another day throughput would be a FAIL from (\S+) % on", hint)
    assert words is not None
    assert now < float(words[1]) / 100 < 0
