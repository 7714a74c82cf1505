"""A test's life against its stored baseline, with measurements that are made up."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT, MACHINE, REVISION, estimate, make_measurement

from pytest_dlperf.baselines.evaluate import BaselineEvaluator
from pytest_dlperf.baselines.source import baselines_of_files
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.judge.error_rates import ErrorRates
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
    """A subject that was measured already."""

    def __init__(self, found: Measurement) -> None:
        self._found = found

    def measure(self, test: str, name: str, seconds: float) -> Measurement:
        """What was made up."""
        assert seconds > 0
        return dataclasses.replace(self._found, test=test, name=name)

    def warm_up(self) -> str:
        """Not asked for."""
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
        """Run it once, and keep what is accepted, as a passing test does."""
        self._runs += 1
        metrics = {"throughput": estimate(throughput, 0.005), "errors": counted(0.0)}
        found = make_measurement(metrics, **fields)
        arena = BaselineEvaluator(
            baselines=self._baselines,
            environment=lambda: ENVIRONMENT,
            revision=lambda: dataclasses.replace(REVISION, commit=f"commit{self._runs}"),
            update=update,
            rates=lambda: ErrorRates(1),
            yardstick=lambda: None,
            reachable=lambda _: False,
            duel=None,
        )
        finding = arena.evaluate(contextlib.nullcontext(MadeUp(found)), PLAN, TEST, "")
        if finding.accepted is not None:
            arena.accept(TEST, "", finding.accepted)
        return finding

    @property
    def accepted(self) -> BaselineEntry:
        """What is stored."""
        baseline = self._baselines.store.load(TEST)
        assert baseline is not None
        return baseline.accepted[""]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """One that has not begun."""
    return Life(tmp_path)


def _crept(finding: Evaluation) -> bool:
    notes = finding.record.measurement.notes
    told = any("the anchor of" in note for note in notes)
    assert told is any("the anchor of" in caution for caution in finding.cautions)
    return told


@pytest.mark.parametrize("seed", range(5))
def test_ten_accepted_changes(life: Life, seed: int) -> None:
    """Ten changes of 2 % that were all accepted are told of, at the latest in the next run."""
    noise = np.random.default_rng(seed)
    life.run("new")
    told = False
    for change in range(1, 11):
        level = 1000.0 * 0.98**change * math.exp(noise.normal(0, 0.005))
        finding = life.run("all", level)
        assert finding.record.verdict != "FAIL"
        told = told or _crept(finding)

    assert life.accepted.anchor is not None
    assert life.accepted.anchor.revision.commit == "commit1"
    assert told or _crept(life.run(None, 1000.0 * 0.98**10))
    assert told or life.accepted.changes


def test_unchanged_code_does_not_creep(tmp_path: Path) -> None:
    """Nights of unchanged code whose sessions differ by 5 % are told of hardly ever."""
    noise = np.random.default_rng(11)
    told = 0
    for number in range(20):
        life = Life(tmp_path / str(number))
        nights = (life.run("new", 1000.0 * math.exp(noise.normal(0, 0.05))) for _ in range(10))
        told += sum(map(_crept, nights)) > 0
    assert told <= 1


def test_a_moved_anchor_is_quiet(life: Life) -> None:
    """Once the loss is accepted, nothing is told of until there is another."""
    life.run("new")
    life.run("all", 600.0)
    assert _crept(life.run(None, 600.0))

    stored = life.accepted
    life._baselines.store.save(TEST, "", stored.anchored())  # noqa: SLF001 - as the program does

    assert not _crept(life.run(None, 600.0))
    assert life.accepted.changes == 0


def test_a_replaced_baseline_is_a_diff(life: Life) -> None:
    """What was, what is, and the difference, in lines of the hint; a session more is no change."""
    life.run("new")
    assert life.run("new", 1001.0).record.hints == ("session 2 of the baseline recorded",)

    (hint,) = life.run("all", 1500.0).record.hints

    assert hint.splitlines() == ["baseline replaced", "throughput 1,000/s -> 1,500/s (+49.9 %)"]


def test_other_conditions(life: Life) -> None:
    """They are compared with nothing that was there, and have an anchor of their own."""
    life.run("new")

    finding = life.run("all", 100.0, serving="Serving(replicas=2)")

    (hint,) = finding.record.hints
    assert "and its anchor with it" in hint
    assert "serving Serving() -> Serving(replicas=2)" in hint
    assert not _crept(finding)
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
    """What the judge sees, or the budget allows, in one step is not told of as many."""
    life.run("new")

    assert not _crept(life.run(None, 600.0))
    assert not _crept(life.run(None, 100.0))


def test_an_unquiet_first_session(life: Life) -> None:
    """It is recorded with a warning; the next one is simply not recorded."""
    busy = Consumption(0.001, 1.0, 1, 1, others=0.3, stolen=None)

    first = life.run("new", usage=busy)
    second = life.run("new", usage=busy)

    (caution,) = first.cautions
    assert caution.startswith("the baseline was recorded although the machine was not quiet: ")
    assert first.record.hints[0].startswith(caution)
    assert second.cautions == ()
    assert second.record.hints[0].startswith("not recorded: the machine was not quiet")
