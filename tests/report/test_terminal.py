"""The section in pytest's summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from builders import counted, estimate, make_judgement, make_measurement, make_record

from pytest_dlperf.metrics import define, users_metric
from pytest_dlperf.report.terminal import short_title, summary_lines
from pytest_dlperf.results.usage import Consumption
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from pytest_dlperf.results.record import Record

METRICS = {
    "throughput": estimate(61_234.0, 0.01),
    "p50": counted(0.00214),
    "p99": counted(0.0075),
    "accuracy": counted(0.97222),
}


@pytest.mark.parametrize("verdict", Verdict)
def test_row(verdict: Verdict) -> None:
    """Each measurement is a row: name, four metrics, and the verdict."""
    record = make_record(make_judgement(verdict), measurement=make_measurement(METRICS))
    lines = summary_lines([record], 100, colour=False)
    assert re.split(r"\s{2,}", lines[0]) == [
        "measurement",
        "throughput",
        "p50",
        "p99",
        "accuracy",
        "verdict",
    ]
    assert re.split(r"\s{2,}", lines[1]) == [
        "test_fast",
        "61,234/s",
        "2.14 ms",
        "7.5 ms",
        "97.22 %",
        verdict.value,
    ]


def test_a_metric_that_was_not_measured() -> None:
    """It is a dash."""
    (_, row) = summary_lines([make_record()], 100, colour=False)
    assert re.split(r"\s{2,}", row) == ["test_fast", "1,000/s", "-", "-", "-", "PASS"]


def test_a_percentile_beyond_all_answers() -> None:
    """It is shown as what it exceeds."""
    record = make_record(measurement=make_measurement(at_least={"p99": 5.0}))
    (_, row) = summary_lines([record], 100, colour=False)
    assert re.split(r"\s{2,}", row) == ["test_fast", "1,000/s", "-", "> 5 s", "-", "PASS"]


def test_rows_keep_their_order() -> None:
    """Measurements are shown in the order in which they were made."""
    records = [make_record(measurement=make_measurement(name=name)) for name in "cab"]
    rows = summary_lines(records, 100, colour=False)[1:4]
    assert [row.split("  ")[0] for row in rows] == [f"test_fast [{name}]" for name in "cab"]


def test_trainings_have_a_table_of_their_own() -> None:
    """Loads and trainings have different columns; both tables fit 80 columns."""
    trained = {
        "train.throughput": estimate(28_547.0, 0.1),
        "train.time": estimate(7.04, 0.1),
        "train.peak_memory": counted(8e8),
        "accuracy": counted(0.97),
    }
    tuned = METRICS | {"train.time": estimate(0.6), "train.throughput": estimate(6_000.0)}
    records = [
        make_record(measurement=make_measurement(metrics, name=name))
        for name, metrics in (("train", trained), ("tuned", tuned))
    ]
    lines = summary_lines(records, 80, colour=False)

    assert [re.split(r"\s{2,}", line) for line in lines[:5]] == [
        ["measurement", "throughput", "p50", "p99", "accuracy", "verdict"],
        ["test_fast [tuned]", "61,234/s", "2.14 ms", "7.5 ms", "97.22 %", "PASS"],
        [""],
        ["measurement", "train.throughput", "train.time", "accuracy", "verdict"],
        ["test_fast [train]", "28,547/s", "7.04 s", "97.00 %", "PASS"],
    ]


@pytest.mark.parametrize(
    ("test", "name", "title"),
    [
        ("tests/t.py::test_a", "", "test_a"),
        ("tests/t.py::TestB::test_a", "", "test_a"),
        ("tests/t.py::test_a", "big", "test_a [big]"),
        ("tests/t.py::test_a[red-1]", "", "test_a[red-1]"),
        ("tests/t.py::test_a[x::y]", "", "test_a[x::y]"),
    ],
)
def test_short_title(test: str, name: str, title: str) -> None:
    """The short title is the test's own name with its parameters, and the measurement's name."""
    record = make_record(measurement=make_measurement(test=test, name=name))
    assert short_title(record) == title
    assert title in summary_lines([record], 100, colour=False)[1]


@pytest.mark.parametrize("colour", [True, False])
def test_colour(monkeypatch: pytest.MonkeyPatch, *, colour: bool) -> None:
    """Verdicts are coloured, a FAIL red, only if the caller wants colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    records = [make_record(make_judgement(v)) for v in (Verdict.FAIL, Verdict.PASS)]
    text = "\n".join(summary_lines(records, 100, colour=colour))
    assert ("\x1b[31mFAIL" in text) is colour
    assert ("\x1b[32mPASS" in text) is colour
    assert ("\x1b" in text) is colour


def test_remarks() -> None:
    """Open verdicts are explained below the table, by the test's name."""
    judgement = make_judgement(Verdict.NEW, reason="no baseline yet")
    lines = summary_lines([make_record(judgement)], 100, colour=False)
    assert lines[2:] == ["", "test_fast:", "  throughput: no baseline yet"]


def test_failed_test_is_not_explained_twice() -> None:
    """A failed test has its own report; here it is a row only."""
    judgements = [make_judgement(Verdict.FAIL), make_judgement(Verdict.NEW, reason="none yet")]
    assert len(summary_lines([make_record(*judgements)], 100, colour=False)) == 2


def test_hints() -> None:
    """They come last, each once."""
    records = [make_record(hints=("record it",)), make_record(hints=("record it", "hold it"))]
    lines = summary_lines(records, 100, colour=False)
    assert lines[3:] == ["", "test_fast: record it", "test_fast: hold it"]


def test_a_hint_of_several_lines() -> None:
    """Each change of a replaced baseline stays on its own line."""
    hint = "baseline replaced\nthroughput 1,000/s -> 900/s (-10.0 %)\np50 1 ms -> 2 ms (+100.0 %)"
    lines = summary_lines([make_record(hints=(hint,))], 100, colour=False)
    assert lines[2:] == [
        "",
        "test_fast: baseline replaced",
        "  throughput 1,000/s -> 900/s (-10.0 %)",
        "  p50 1 ms -> 2 ms (+100.0 %)",
    ]


@pytest.mark.parametrize("quick", [True, False])
def test_a_smoke_run_is_marked(*, quick: bool) -> None:
    """A remark says that speeds were not judged."""
    text = "\n".join(summary_lines([make_record(quick=quick)], 100, colour=False))
    assert ("quick: only errors and absolute budgets" in text) is quick


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit(width: int) -> None:
    """However long the test's name, the table fits, and the name is folded, not cut."""
    name = "test_" + "abcdefghi_" * 15
    record = make_record(measurement=make_measurement(METRICS, test=f"t.py::{name}"))
    lines = summary_lines([record], width, colour=False)
    assert max(map(len, lines)) <= width
    assert name in "".join(line.split(" ")[0] for line in lines[1:])
    assert "61,234/s" in lines[1]


def test_a_hint_for_many_tests_names_a_few() -> None:
    """A hundred tests with the same hint have one line, not a hundred."""
    records = [
        make_record(hints=("record it",), measurement=make_measurement(test=f"t.py::test_{n}"))
        for n in range(100)
    ]

    lines = summary_lines(records, 100, colour=False)

    hint = "test_0, test_1, test_2, test_3, and 96 more: record it"
    assert [line for line in lines if "record it" in line] == [hint]


def test_a_highest_rate_has_its_column() -> None:
    """A search adds a column; measurements without one have a dash."""
    rate = make_measurement({"max_rate": Estimate(5200.0, 5200.0, 5440.0)})
    lines = summary_lines([make_record(measurement=rate), make_record()], 100, colour=False)

    cells = [re.split(r"\s{2,}", line)[:3] for line in lines]
    assert cells == [
        ["measurement", "max_rate", "throughput"],
        ["test_fast", "5,200/s", "-"],
        ["test_fast", "-", "1,000/s"],
    ]


@pytest.mark.usefixtures("own_metrics")
def test_metrics_without_a_column() -> None:
    """Users' metrics and goals stand below the table, but not those of a failed test."""
    define(users_metric("ndcg", "share", "higher", 0.01))
    measurement = make_measurement(
        {
            **METRICS,
            "ndcg": Estimate(0.7312, 0.7, 0.76),
            "train.time_to_accuracy(95%)": counted(12.5),
        }
    )
    lines = summary_lines([make_record(measurement=measurement)], 80, colour=False)
    assert lines[2:] == [
        "",
        "test_fast:",
        "  train.time_to_accuracy(95%) 12.5 s, ndcg 73.12 % (70.00 to 76.00 %)",
    ]
    failed = make_record(make_judgement(Verdict.FAIL), measurement=measurement)
    assert len(summary_lines([failed], 80, colour=False)) == 2


BUSY = "the machine was not quiet: other processes took {:.0%} of its processors"


def busy(test: str, name: str, share: float, *, leaves_open: bool) -> Record:
    """A measurement beside other processes, noted or as the reason of two open verdicts."""
    text = BUSY.format(share)
    open_verdicts = [
        make_judgement(Verdict.INCONCLUSIVE, metric=metric, reason=text)
        for metric in ("p99", "p50")
    ]
    return make_record(
        *(open_verdicts if leaves_open else ()),
        measurement=make_measurement(
            test=f"t.py::{test}",
            name=name,
            notes=() if leaves_open else (text, "of this one"),
            usage=Consumption(0.001, 1.0, 1, 1, others=share, stolen=0.004, lost=share / 2),
        ),
    )


def test_a_busy_machine_is_said_once() -> None:
    """With the tests' names, not for each of three measurements of a test, nor each metric."""
    records = [
        busy(test, name, share, leaves_open=share > 0.2)
        for test, first in (("test_a", 0.12), ("test_b", 0.3))
        for name, share in (("x", first), ("y", first + 0.01), ("z", first + 0.02))
    ]

    lines = summary_lines(records, 100, colour=False)

    remarks = lines[lines.index("") :]
    assert " ".join(" ".join(remarks).split()).count("not quiet") == 1
    assert (
        "test_a, test_b: the machine was not quiet: other processes took up to 32% of its "
        "processors and others had up to 16% of the processor time that a run wanted; left open "
        "for that: p50, p99"
    ) in " ".join(" ".join(remarks).split())
    assert "test_a [x], test_a [y], test_a [z]: note: of this one" in remarks


def test_one_busy_measurement_has_its_own_note() -> None:
    """There is nothing to put together."""
    quiet = make_record(measurement=make_measurement(test="t.py::test_b"))

    lines = summary_lines([busy("test_a", "", 0.12, leaves_open=False), quiet], 100, colour=False)

    assert lines[3:5] == ["", "test_a:"]
    assert lines[5].startswith("  note: the machine was not quiet: other processes took 12%")


def test_a_note_that_repeats_is_said_once() -> None:
    """What is the same for several measurements, such as that coverage was suspended."""
    records = [
        make_record(
            make_judgement(Verdict.NEW, reason="no baseline yet"),
            measurement=make_measurement(
                test=f"t.py::test_{n}", notes=("as the others", f"own {n}")
            ),
        )
        for n in range(6)
    ]
    failed = make_record(
        make_judgement(Verdict.FAIL), measurement=make_measurement(notes=("as the others",))
    )

    lines = summary_lines([*records, failed], 100, colour=False)

    named = "test_0, test_1, test_2, test_3, and 2 more"
    assert lines[-2:] == [f"{named}: throughput: no baseline yet", f"{named}: note: as the others"]
    assert [line for line in lines if "own" in line] == [f"  note: own {n}" for n in range(6)]
