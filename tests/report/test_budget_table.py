"""The table of budgets, and the report of a failed test."""

from __future__ import annotations

import dataclasses
import re
import shlex
from typing import Any

import pytest
from builders import estimate, make_judgement, make_measurement, make_record

from pytest_dlperf.report.budget_table import (
    bound_of,
    bounds_of,
    budget_cells,
    budget_table,
    explanations,
    failure_text,
    headline,
    judged_line,
    next_steps,
)
from pytest_dlperf.report.tables import MESSAGE
from pytest_dlperf.results.measurement import ErrorCount
from pytest_dlperf.results.verdict import Judgement, Verdict
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


def test_table_with_dashes() -> None:
    """Dashes where there is no measurement, limit or baseline; no interval of an exact value."""
    lines = budget_table([FRESH, LATE], MESSAGE)
    assert re.split(r"\s{2,}", lines[1]) == ["p99 <= baseline", "-", "-", "-", "NEW"]
    assert re.split(r"\s{2,}", lines[2]) == ["p99 <= 20ms", "25 ms", "20 ms", "-", "FAIL"]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("metric", "change", "lines"),
    [
        ("p99", Estimate(1.125, 0.98, 1.31), ["25 ms", "+12.5 %", "-2.0 to +31.0"]),
        ("p99", Estimate(2.0, 0.9996, 50.0), ["25 ms", "+100.0 %", "+0.0 to >+1000"]),
        ("accuracy", Estimate(-0.0123, -0.02, 0.001), ["2.50 %", "-1.2 pt", "-2.0 to +0.1"]),
    ],
)
def test_changes_in_a_duel(metric: str, change: Estimate, lines: list[str]) -> None:
    """Below the value stands its change against the base, in percent or points.

    The interval is that of the change, which has decided, not the one of the value itself.
    """
    judgement = make_judgement(metric=metric, measured=estimate(0.025, 0.01), change=change)
    assert budget_cells(judgement)[0].split("\n") == lines


@pytest.mark.parametrize("width", [76, 100])
def test_table_fits(width: int) -> None:
    """The table is not wider than it may be, even with long budgets."""
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


PASSED = make_judgement(metric="throughput", excluded=0.0412)
LOST = make_judgement(Verdict.FAIL, metric="p99", proven=0.0625)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"excluded": 0.041}, "a loss of 4.1 % or more is excluded"),
        ({"excluded": 0.0412}, "a loss of 4.2 % or more is excluded"),
        ({"excluded": 0.00002}, "a loss of 0.1 % or more is excluded"),
        ({"excluded": 0.0}, "nothing was lost"),
        ({"excluded": -0.0002}, "nothing was lost"),
        ({"excluded": -0.0479}, "at least 4.7 % was gained"),
        ({"proven": 0.0629}, "at least 6.2 % was lost"),
        ({"proven": 0.0002}, "a loss is proven"),
        ({"proven": 0.0}, "a loss is proven"),
        ({"proven": -0.0301}, "less than 3.1 % was gained"),
        ({"metric": "accuracy", "excluded": 0.00411}, "a loss of 0.42 pt or more is excluded"),
        ({"metric": "accuracy", "proven": 0.00418}, "at least 0.41 pt was lost"),
        ({"metric": "accuracy", "proven": 0.00004}, "a loss is proven"),
        ({"metric": "p99", "proven": 40.0}, "at least 4000.0 % was lost"),
        ({}, ""),
    ],
)
def test_what_decided(fields: dict[str, Any], text: str) -> None:
    """The bound of a PASS is rounded up and that of a FAIL down: it holds as it reads."""
    assert "".join(bound_of(make_judgement(**fields)) or ()) == text


def test_what_decided_in_one_line() -> None:
    """The words stand once for several budgets, and a metric with two budgets once."""
    accurate = make_judgement(metric="accuracy", excluded=0.004)
    twice = dataclasses.replace(PASSED, budget="throughput >= 0.9 * baseline")

    assert bounds_of([PASSED, accurate, FRESH, LOST, twice]) == (
        "throughput: a loss of 4.2 % or more is excluded, accuracy: 0.40 pt; "
        "p99: at least 6.2 % was lost"
    )
    assert bounds_of([FRESH, LATE]) == ""


def test_where_what_decided_is_said() -> None:
    """In the report of a failed test, below its table, and in the line of an annotation."""
    record = make_record(PASSED, LOST)

    assert "p99: at least 6.2 % was lost" in " ".join(failure_text(record, [LOST]).split())
    assert judged_line(LOST).endswith("; at least 6.2 % was lost")


def test_headline() -> None:
    """The first line names each broken budget with what was measured."""
    assert headline([LATE]) == "p99 <= 20ms, was 25 ms"
    assert headline([SLOWER, LATE]) == (
        "throughput >= 0.95 * baseline, was 48,000/s; p99 <= 20ms, was 25 ms"
    )


def test_headline_of_other_verdicts() -> None:
    """A budget that is not broken but fails the test has its verdict in front."""
    assert headline([OPEN]) == "INCONCLUSIVE: accuracy >= baseline, was 95.00 %"
    assert headline([FRESH]) == "NEW: p99 <= baseline"


def test_failure_text() -> None:
    """A failure has the headline, the test, the table, the target and the duration."""
    measurement = make_measurement(
        name="big",
        target="Sequential on CPU",
        diagnosis="median 3 ms in the queue",
        errors=(ErrorCount("ValueError", 1, "long " * 60),),
    )
    text = failure_text(make_record(SLOWER, OPEN, measurement=measurement), [SLOWER])
    lines = text.split("\n")
    assert lines[0] == headline([SLOWER])
    assert lines[1] == "tests/test_model.py::test_fast [big]"
    assert "Sequential on CPU; ClosedLoop(clients=64), Serving()" in text
    assert "10,000 requests in 5.0 s: median 3 ms in the queue" in text
    assert "INCONCLUSIVE" in text
    assert "accuracy: the noise hides a loss of this size" in text
    assert max(map(len, lines)) <= MESSAGE


LESS_RIGHT = make_judgement(Verdict.FAIL, metric="accuracy", baseline=0.9)
BASE = {"base": "0123456789abcdef"}
OF_HISTORY = {"basis": "history:main"}
IN_TURN = {"duel": {"blocks": 9}}
TEST = "tests/test_model.py::test_fast"


@pytest.mark.parametrize(
    ("judgement", "fields", "commands"),
    [
        (LATE, {}, []),
        (SLOWER, {}, [f"pytest {TEST}", f"pytest {TEST} --dlperf-update=all"]),
        (
            SLOWER,
            BASE,
            [f"pytest {TEST} --dlperf-against=01234567", f"pytest {TEST} --dlperf-update=all"],
        ),
        (LESS_RIGHT, BASE, ["git diff 01234567", f"pytest {TEST} --dlperf-update=all"]),
        (LESS_RIGHT, {}, [f"pytest {TEST} --dlperf-update=all"]),
        (SLOWER, IN_TURN, ["git diff 01234567"]),
        (OPEN, BASE, [f"pytest {TEST} --dlperf-against=01234567"]),
        (FRESH, {}, [f"pytest {TEST} --dlperf-update=new"]),
        (FRESH, OF_HISTORY, []),  # every run records
    ],
)
def test_next_steps(judgement: Judgement, fields: dict[str, Any], commands: list[str]) -> None:
    """Measuring again, a duel with a known base, or accepting: what can change the verdict.

    Nothing tells a loss of accuracy from a slower machine.
    """
    record = dataclasses.replace(make_record(judgement), **fields)

    assert [step.strip() for step in next_steps(record) if step.startswith("  ")] == commands
    assert all(command in failure_text(record, [judgement]) for command in commands)


def test_accepting_a_loss_in_the_history() -> None:
    """`--dlperf-update` works only where sessions are recorded, which is said."""
    of_files = make_record(SLOWER)
    of_history = dataclasses.replace(of_files, basis="history:main")

    assert "or accept it as the new baseline:" in next_steps(of_files)
    where = " where its sessions are recorded:"
    assert f"or accept it as the new baseline{where}" in next_steps(of_history)


@pytest.mark.parametrize("test", ["t.py::a", "t.py::a[x y]", 't.py::a["x"]', "t.py::a[$HOME]"])
def test_next_steps_can_be_pasted(test: str) -> None:
    """Pasted into a shell, the command runs the test, whatever its name."""
    text = failure_text(make_record(SLOWER, measurement=make_measurement(test=test)), [SLOWER])
    commands = [shlex.split(line) for line in text.split("\n") if line.startswith("  pytest ")]
    assert commands == [["pytest", test], ["pytest", test, "--dlperf-update=all"]]
    # Inside double quotes a shell would still replace what begins with a dollar sign.
    assert '"t.py::a[$HOME]"' not in text


def test_explanations() -> None:
    """Errors by kind, each reason once with its metrics, and notes."""
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
    """A PASS has no explanation."""
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
def test_open_verdicts_name_where_they_fail(
    metric: str, baseline: float | None, fails_at: float, text: str
) -> None:
    """The value at which it would have been a FAIL, and the change from the baseline to it."""
    judgement = make_judgement(
        Verdict.INCONCLUSIVE, metric=metric, baseline=baseline, fails_at=fails_at, reason="noise"
    )
    explanation = " ".join(explanations(make_record(judgement)))
    assert explanation.startswith(f"{metric}: noise; ")
    assert text in explanation
    assert explanation.endswith("it would have been a FAIL")


def test_a_goal_that_was_never_reached() -> None:
    """The headline has the best value, and the table none; both fit."""
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
    lines = budget_table([missed], MESSAGE)
    assert re.split(r"\s{2,}", lines[1])[1:] == ["-", "30 s", "-", "FAIL"]
    assert max(map(len, lines)) <= MESSAGE
