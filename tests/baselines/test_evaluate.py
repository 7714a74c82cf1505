"""Runs of one test against its stored baseline, with made-up measurements."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import (
    ENVIRONMENT,
    MACHINE,
    estimate,
    make_accepted,
    make_measurement,
    revision_on,
)

from pytest_dlperf.baselines.acceptance import ENOUGH_SESSIONS
from pytest_dlperf.baselines.evaluate import BaselineEvaluator
from pytest_dlperf.baselines.source import baselines_of_files
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.judge.error_rates import AlphaSpending, ErrorRates
from pytest_dlperf.judge.machine_noise import MachineNoise
from pytest_dlperf.measure.yardstick import NO_YARDSTICK
from pytest_dlperf.results.usage import Consumption
from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_dlperf.config.options import Update
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.evaluator import Evaluation
    from pytest_dlperf.measure.yardstick import SpeedCheck
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.measurement import Measurement

PLAN = plan([Options(budgets=("throughput >= 0.5 * baseline",))])
TEST = make_measurement().test


class MadeUp:
    """A subject with given measurements; the last one again and again.

    Attributes:
        measured: how many times it was measured.
    """

    def __init__(self, *measurements: Measurement) -> None:
        self._measurements = measurements
        self.measured = 0

    def measure(
        self, test: str, name: str, seconds: float, speed: SpeedCheck = NO_YARDSTICK
    ) -> Measurement:
        """The next of the given measurements."""
        assert seconds > 0
        speed.begin()
        speed.again()
        given = self._measurements[min(self.measured, len(self._measurements) - 1)]
        self.measured += 1
        return dataclasses.replace(given, test=test, name=name)

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
        self.paces: list[Pace] = []
        self.rests = 0

    def run(
        self,
        update: Update | None = None,
        throughput: float = 1000.0,
        pace: Pace | None = None,
        **fields: Any,  # noqa: ANN401 - any field
    ) -> Evaluation:
        """Run it once, and accept as a passing test does."""
        self._runs += 1
        metrics = {"throughput": estimate(throughput, 0.005), "errors": counted(0.0)}
        subject = MadeUp(make_measurement(metrics, **fields))
        self.paces = [pace] if pace else []
        evaluation = self.evaluate(subject, PLAN, "", update)
        if evaluation.accepted is not None:
            self._baselines.store.save(TEST, "", evaluation.accepted)
        return evaluation

    def evaluate(
        self,
        subject: MadeUp,
        plan: Plan,
        name: str,
        update: Update | None = None,
        spending: AlphaSpending | None = None,
    ) -> Evaluation:
        """Measure and judge, and accept nothing."""
        evaluator = BaselineEvaluator(
            baselines=self._baselines,
            environment=lambda: ENVIRONMENT,
            revision=lambda: dataclasses.replace(
                revision_on(self._runs), commit=f"commit{self._runs}"
            ),
            update=update,
            rates=lambda: ErrorRates(1),
            spending=lambda _: spending or AlphaSpending(),
            yardstick=lambda: Slower(self.paces.pop(0)) if self.paces else NO_YARDSTICK,
            rest=self._rest,
            reachable=lambda _: False,
            noise=MachineNoise,
            second=None,
        )
        return evaluator.evaluate(contextlib.nullcontext(subject), plan, TEST, name)

    def _rest(self) -> None:
        self.rests += 1

    @property
    def accepted(self) -> BaselineEntry:
        """The stored entry."""
        baseline = self._baselines.store.load(TEST)
        assert baseline is not None
        return baseline.accepted[""]

    def store(self, entries: Mapping[str, BaselineEntry]) -> None:
        """Write a baseline of several measurements."""
        for name, entry in entries.items():
            self._baselines.store.save(TEST, name, entry)


class Slower:
    """A machine whose pace is known."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._told: list[str] = []

    @property
    def pace(self) -> Pace | None:
        """Known once a load was enclosed."""
        return self._pace if self._told == ["begin", "again"] else None

    def begin(self) -> None:
        """Before the load."""
        self._told.append("begin")

    def again(self) -> None:
        """After it."""
        self._told.append("again")


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


def test_the_machine_s_pace_is_kept(life: Life) -> None:
    """It is of the load's own time, in the record and in the baseline, and is allowed for."""
    first, now = Pace(1e-4, 1e-3), Pace(1.1e-4, 1.1e-3)
    life.run("new", pace=first)

    record = life.run(None, 1000.0 / 1.1, pace=now).record

    assert life.accepted.newest.yardstick == first
    assert record.yardstick == now
    assert any("took 1.10 times as long" in note for note in record.measurement.notes)


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


ABSOLUTE = plan([Options(budgets=("throughput >= 900/s", "accuracy >= 97%"))])
BUSY = Consumption(0.001, 1.0, 1, 1, others=0.3, stolen=None)


def _load(
    throughput: float, accuracy: float = 1.0, usage: Consumption | None = None
) -> Measurement:
    metrics = {
        "throughput": estimate(throughput, 0.005),
        "accuracy": counted(accuracy),
        "errors": counted(0.0),
    }
    return make_measurement(metrics, usage=usage)


@pytest.mark.parametrize(
    ("loads", "looks", "verdict"),
    [
        ((_load(800.0), _load(810.0)), 2, "FAIL"),
        ((_load(800.0), _load(1000.0)), 2, "INCONCLUSIVE"),
        ((_load(800.0), _load(902.0)), 2, "INCONCLUSIVE"),
        ((_load(800.0), _load(810.0, usage=BUSY)), 2, "INCONCLUSIVE"),
        ((_load(800.0, usage=BUSY), _load(800.0)), 1, "INCONCLUSIVE"),
        ((_load(1000.0, usage=BUSY), _load(800.0)), 1, "PASS"),
        ((_load(902.0), _load(800.0)), 1, "INCONCLUSIVE"),
        ((_load(1000.0), _load(800.0)), 1, "PASS"),
        ((_load(1000.0, accuracy=0.5), _load(800.0)), 1, "PASS"),
    ],
)
def test_a_second_look(
    life: Life, loads: tuple[Measurement, ...], looks: int, verdict: str
) -> None:
    """A broken absolute budget on speed is measured again at once, and nothing else is.

    What is recorded is the first load, with a note on the second.
    """
    subject = MadeUp(*loads)

    record = life.evaluate(subject, ABSOLUTE, "").record

    assert (subject.measured, life.rests) == (looks, looks - 1)
    assert record.judgements[0].verdict == verdict
    assert record.measurement.metrics == loads[0].metrics
    assert any(note.startswith("measured again for 5 s") for note in record.measurement.notes) is (
        looks == 2
    )


@pytest.mark.parametrize(
    ("slower", "verdict", "left"),
    [((1.0, 1.0), "FAIL", 0), ((1.3, 1.3), "INCONCLUSIVE", 1), ((1.0, 2.0), "INCONCLUSIVE", 0)],
)
def test_a_machine_of_another_speed(
    life: Life, slower: tuple[float, float], verdict: str, left: int
) -> None:
    """Where the baseline says how fast it was, an absolute budget is not broken by a slower one."""
    life.store({"": make_accepted(yardstick=Pace(1e-6, 1e-6))})
    life.paces = [Pace(1e-6 * factor, 1e-6 * factor) for factor in slower]

    record = life.evaluate(MadeUp(_load(800.0)), ABSOLUTE, "").record

    assert record.judgements[0].verdict == verdict
    assert len(life.paces) == left


def test_without_a_baseline_there_is_no_yardstick(life: Life) -> None:
    """An absolute budget needs none: there is no speed to hold it against."""
    life.paces = [Pace(1e-6, 1e-6)]

    life.evaluate(MadeUp(_load(800.0)), ABSOLUTE, "")

    assert len(life.paces) == 1


def test_measurements_of_one_test_share_its_error_rate(life: Life) -> None:
    """As many as the baseline has: what alone is a FAIL is open as one of eight."""
    relative = plan([Options(budgets=("throughput >= baseline",))])
    names = [str(number) for number in range(8)]
    entry = make_accepted({"throughput": counted(1000.0)})

    def verdict(name: str, throughput: float) -> str:
        return life.evaluate(MadeUp(_load(throughput)), relative, name).record.judgements[0].verdict

    life.store({names[0]: entry})
    lost = next(value for value in range(990, 1, -10) if verdict(names[0], value) == "FAIL")
    life.store(dict.fromkeys(names, entry))

    assert verdict(names[0], lost) == verdict(names[7], lost) == "INCONCLUSIVE"
    assert verdict(names[0], lost / 2) == "FAIL"


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
