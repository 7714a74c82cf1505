"""The report of one measurement's budgets."""

from __future__ import annotations

import dataclasses
import re
import shlex

import pytest
from builders import estimate, make_judgement, make_measurement, make_record

from pytest_dlperf.report.budget_table import (
    WIDTH,
    budget_table,
    explanations,
    failure_text,
    headline,
)
from pytest_dlperf.results.measurement import ErrorCount
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate

SLOWER = make_judgement(
    Verdict.FAIL,
    budget="throughput >= 0.95 * baseline",
    measured=Estimate(48_000.0, 47_000.0, 49_000.0),
    limit=57_000.0,
    baseline=60_000.0,
    revision="01234567, 2026-11-23",
)
LATE = make_judgement(
    Verdict.FAIL, budget="p99 <= 20ms", metric="p99", measured=estimate(0.025), limit=0.02
)
FRESH = make_judgement(Verdict.NEW, budget="p99 <= baseline", metric="p99", reason="none yet")
OPEN = make_judgement(
    Verdict.INCONCLUSIVE,
    budget="accuracy >= baseline",
    metric="accuracy",
    measured=Estimate(0.95, 0.93, 0.97),
    limit=0.95,
    baseline=0.95,
    fails_at=0.93,
    reason="the noise hides a loss of this size",
)


def test_table_row() -> None:
    """A row has the budget, the value with its interval, limit, baseline and verdict."""
    lines = budget_table([SLOWER], 100)
    assert re.split(r"\s{2,}", lines[0]) == ["budget", "measured", "limit", "baseline", "verdict"]
    text = " ".join(lines)
    for shown in (
        "throughput >= 0.95 * baseline",
        "48,000/s",
        "47,000 to 49,000/s",
        "57,000/s",
        "60,000/s",
        "01234567",
        "2026-11-23",
        "FAIL",
    ):
        assert shown in text


def test_table_of_what_is_not_there() -> None:
    """What was not measured, has no limit or no baseline is a dash; an exact value no interval."""
    lines = budget_table([FRESH, LATE], WIDTH)
    assert re.split(r"\s{2,}", lines[1]) == ["p99 <= baseline", "-", "-", "-", "NEW"]
    assert re.split(r"\s{2,}", lines[2]) == ["p99 <= 20ms", "25 ms", "20 ms", "-", "FAIL"]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("metric", "low", "high", "text"),
    [
        ("p99", 0.001, 0.002, "1 to 2 ms"),
        ("p99", 0.0005, 0.002, "500 us to 2 ms"),
        ("p99", 1.0, 2.0, "1 to 2 s"),
        ("p99", 0.5, 2.0, "500 ms to 2 s"),
        ("accuracy", 0.9, 0.95, "90.00 to 95.00 %"),
        ("throughput", 900.0, 1100.0, "900 to 1,100/s"),
        ("throughput", 1.5e6, 2.5e6, "1.50 to 2.50M/s"),
        ("throughput", 9e5, 2.5e6, "900,000/s to 2.50M/s"),
        ("peak_memory", 2.0**20, 2.0**21, "1 to 2 MiB"),
    ],
)
def test_interval(metric: str, low: float, high: float, text: str) -> None:
    """An interval names its unit once, or twice where the ends have different ones."""
    judgement = make_judgement(metric=metric, measured=Estimate((low + high) / 2, low, high))
    assert text in [line.strip() for line in budget_table([judgement], WIDTH)]


@pytest.mark.parametrize("width", [76, 100])
def test_table_fits(width: int) -> None:
    """The table is never wider than the place for it, long budgets included."""
    long = make_judgement(
        Verdict.INCONCLUSIVE,
        budget="throughput >= 0.123456789 * baseline - 1234567.891/s" * 2,
        measured=Estimate(1_234_567.0, 1_000_000.0, 2_000_000.0),
        limit=1_234_567.0,
        baseline=1_234_567.0,
        revision="01234567+, 2026-11-23",
    )
    lines = budget_table([long, SLOWER, OPEN], width)
    assert max(map(len, lines)) <= width
    assert "INCONCLUSIVE" in " ".join(lines)


def test_headline() -> None:
    """The first line names each broken budget with what was measured."""
    assert headline([LATE]) == "p99 <= 20ms, was 25 ms"
    assert headline([SLOWER, LATE]) == (
        "throughput >= 0.95 * baseline, was 48,000/s; p99 <= 20ms, was 25 ms"
    )


def test_headline_of_other_verdicts() -> None:
    """A budget that fails the test without being broken says what it is instead."""
    assert headline([OPEN]) == "INCONCLUSIVE: accuracy >= baseline, was 95.00 %"
    assert headline([FRESH]) == "NEW: p99 <= baseline"


def test_failure_text() -> None:
    """A failure begins with the headline and holds the test, the table, the target and the time."""
    measurement = make_measurement(
        name="big", target="Sequential on CPU", diagnosis="median 3 ms in the queue"
    )
    text = failure_text(make_record(SLOWER, OPEN, measurement=measurement), [SLOWER])
    lines = text.split("\n")
    assert lines[0] == headline([SLOWER])
    assert lines[1] == "tests/test_model.py::test_fast [big]"
    assert "Sequential on CPU; ClosedLoop(clients=64), Serving()" in text
    assert "10,000 requests in 5.0 s: median 3 ms in the queue" in text
    assert "INCONCLUSIVE" in text
    assert "accuracy: the noise hides a loss of this size" in text
    assert max(map(len, lines)) <= WIDTH


def test_next_steps() -> None:
    """What was lost against a baseline may be accepted, a first one recorded; else nothing."""
    against = failure_text(make_record(SLOWER), [SLOWER])
    fresh = failure_text(make_record(FRESH), [FRESH])
    absolute = failure_text(make_record(LATE), [LATE])
    assert "pytest tests/test_model.py::test_fast --dlperf-update=all" in against
    assert "pytest tests/test_model.py::test_fast --dlperf-update=new" in fresh
    assert "--dlperf-update" not in absolute


@pytest.mark.parametrize("test", ["t.py::a", "t.py::a[x y]", 't.py::a["x"]', "t.py::a[$HOME]"])
def test_next_steps_can_be_pasted(test: str) -> None:
    """The command that is printed runs the test when pasted into a shell, whatever its name."""
    text = failure_text(make_record(SLOWER, measurement=make_measurement(test=test)), [SLOWER])
    commands = [shlex.split(line) for line in text.split("\n") if line.startswith("  pytest ")]
    assert commands == [["pytest", test], ["pytest", test, "--dlperf-update=all"]]
    # Inside double quotes a shell would still replace what begins with a dollar sign.
    assert '"t.py::a[$HOME]"' not in text


def test_explanations() -> None:
    """Errors by kind, each reason once with its metrics, and notes are explained."""
    record = make_record(
        make_judgement(Verdict.NEW, metric="p99", reason="no baseline yet"),
        make_judgement(Verdict.NEW, metric="p50", reason="no baseline yet"),
        make_judgement(Verdict.PASS, metric="throughput"),
        measurement=make_measurement(
            errors=(ErrorCount("ValueError", 1234, "bad shape"),), notes=("still warming up",)
        ),
    )
    assert explanations(record) == [
        "error: ValueError, 1,234 of 10,000 requests: bad shape",
        "p99, p50: no baseline yet",
        "note: still warming up",
    ]


def test_nothing_to_explain() -> None:
    """A clean PASS needs no words."""
    assert explanations(make_record(make_judgement(Verdict.PASS))) == []


@pytest.mark.parametrize(
    ("metric", "baseline", "fails_at", "text"),
    [
        ("accuracy", 0.95, 0.93, "below 93.00 % (-2.0 pt)"),
        ("throughput", 1000.0, 800.0, "below 800/s (-20 %)"),
        ("p99", 0.010, 0.0125, "above 12.5 ms (+25 %)"),
        ("p99", None, 0.0125, "above 12.5 ms it"),
        ("errors", 0.0, 0.01, "above 1.00 % it"),
    ],
)
def test_open_verdict_says_what_it_could_have_seen(
    metric: str, baseline: float | None, fails_at: float, text: str
) -> None:
    """An open verdict names the value at which it would have failed, and the change to it."""
    judgement = make_judgement(
        Verdict.INCONCLUSIVE, metric=metric, baseline=baseline, fails_at=fails_at, reason="noise"
    )
    said = " ".join(explanations(make_record(judgement)))
    assert said.startswith(f"{metric}: noise; ")
    assert text in said
    assert said.endswith("it would have been a FAIL")


def test_long_explanations_are_wrapped() -> None:
    """A long error is broken into lines that fit, with nothing lost."""
    example = " ".join(f"word{i}" for i in range(60))
    measurement = make_measurement(errors=(ErrorCount("ValueError", 1, example),))
    lines = explanations(make_record(measurement=measurement))
    assert max(map(len, lines)) <= WIDTH
    assert example in " ".join(line.strip() for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])


def test_commands_stay_whole() -> None:
    """A note may end in commands, which can be copied; other lines of it are wrapped as it is."""
    command = "pytest-dlperf baselines anchor " + "tests/some_folder/" * 8 + "test_model.py::test"
    note = f"{'word ' * 30}\n{command}\n{'further ' * 20}"

    lines = explanations(make_record(measurement=make_measurement(notes=(note,))))

    assert f"  {command}" in lines
    assert all(len(line) <= WIDTH for line in lines if command not in line)
    assert all(line.startswith("  ") for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == " ".join(f"note: {note}".split())


def test_a_base_that_is_here_is_the_next_step() -> None:
    """A loss against a stored baseline whose commit is known is to be measured in turn with it."""
    record = dataclasses.replace(make_record(SLOWER), base="0123456789abcdef")

    text = failure_text(record, [SLOWER])

    test = record.measurement.test
    assert f"  pytest {test} --dlperf-against=01234567\n" in text
    assert f"  pytest {test} --dlperf-update=all" in text
    assert "measure again, alone" not in text


def test_after_a_duel_the_change_is_what_to_look_at() -> None:
    """Neither measuring again nor a stored baseline has anything to add to a duel."""
    lost = dataclasses.replace(SLOWER, change=Estimate(0.8, 0.7, 0.9))

    text = failure_text(make_record(lost), [lost])

    assert text.endswith("  git diff 01234567")
    assert "--dlperf" not in text


def test_an_open_budget_that_fails_the_test() -> None:
    """With `inconclusive=fail`, a duel is the way on too."""
    record = dataclasses.replace(make_record(OPEN), base="0123456789abcdef")

    assert failure_text(record, [OPEN]).endswith("--dlperf-against=01234567")


def test_a_goal_that_was_never_reached() -> None:
    """The headline says what came nearest, and the table has no figure; both fit."""
    missed = make_judgement(
        Verdict.FAIL,
        budget="train.time_to_accuracy(95%) <= 30s",
        metric="train.time_to_accuracy(95%)",
        limit=30.0,
        reason="never reached 95 %: 93.1 % at best, after epoch 4",
    )
    assert headline([missed]) == (
        "train.time_to_accuracy(95%) <= 30s, never reached 95 %: 93.1 % at best, after epoch 4"
    )
    table = budget_table([missed], WIDTH)
    assert re.split(r"\s{2,}", table[1])[1:] == ["-", "30 s", "-", "FAIL"]
    assert max(map(len, table)) <= WIDTH
