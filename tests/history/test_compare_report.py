"""The comparison as text, Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from typing import Any

import pytest
from builders import ENVIRONMENT, MACHINE, estimate, with_session
from entries import TEST, commit_of, make_entry, make_run

from pytest_dlperf.history.compare import compare_sides
from pytest_dlperf.history.compare_formats import (
    CSV_COLUMNS,
    comparison_csv,
    comparison_json,
    comparison_markdown,
)
from pytest_dlperf.history.compare_report import ComparedSources, comparison_lines, described
from pytest_dlperf.history.sources import Kind, Source, side_of
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted

NEWER = dataclasses.replace(ENVIRONMENT, tensorflow="2.19.0")
BIGGER = dataclasses.replace(MACHINE, cores=8)
PIPED = "tests/test_model.py::test_other[a|b]"


def _metrics(factor: float = 1.0) -> dict[str, Estimate]:
    return {
        "throughput": estimate(144_170.0 / factor),
        "p50": estimate(0.00214 * factor),
        "p99": estimate(0.00414),
        "accuracy": Estimate(0.9722, 0.95, 0.99),
        "peak_memory": counted(1.2e9 / factor),
    }


def _source(
    kind: Kind,
    numbers: range,
    factor: float = 1.0,
    test: str = TEST,
    **fields: Any,  # noqa: ANN401 - any field
) -> Source:
    entries = [
        make_entry(_metrics(factor), run=make_run(number), test=test, **fields)
        for number in reversed(numbers)
    ]
    return Source({"branch": "main", "run": "latest"}.get(kind, kind), kind, tuple(entries))


def _compare(base: Source, candidate: Source) -> ComparedSources:
    sides = side_of(base), side_of(candidate)
    return ComparedSources(base, candidate, *sides, compare_sides(*sides))


@pytest.fixture
def compare() -> ComparedSources:
    """Eight sessions against five that are slower by 20 %, one test of which is new."""
    base, candidate = _source("branch", range(8)), _source("commit", range(20, 25), 1.2)
    new = _source("commit", range(20, 21), test=PIPED, environment=NEWER)
    gone = _source("branch", range(3, 4), test="t.py::gone")
    old = dataclasses.replace(
        base,
        entries=base.entries + gone.entries,
        left_out=("2 INVALID measurements of main",),
    )
    both = tuple(
        dataclasses.replace(e, result=with_session(e.result, environment=NEWER))
        for e in candidate.entries
    )
    return _compare(old, dataclasses.replace(candidate, entries=both + new.entries))


def _text(compare: ComparedSources) -> str:
    return "\n".join(comparison_lines(compare, 80, colour=False))


def _words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        f"base main: branch, 1 to 8 sessions up to {commit_of(7)[:8]}, 2025-12-01",
        f"candidate commit: commit, 1 to 5 sessions of {commit_of(24)[:8]}, 2025-12-18",
        "machine test-cpu-2.4ghz-4cpu-16gib",
        "software since the base: tensorflow 2.18.0 -> 2.19.0",
        "provable a loss beyond throughput -",
        "left out 2 INVALID measurements of main",
        f"{TEST} metric base candidate change 95 % interval verdict",
        "throughput 144,170/s 120,142/s -16.7 %",
        "p50 2.14 ms 2.57 ms +20.0 %",
        "accuracy 97.22 % 97.22 % +0.00 pt",
        "p99 4.14 ms 4.14 ms +0.0 %",
        "accuracy: not of the same rows; the noise hides a loss of this size; it would have been",
        f"{PIPED} throughput - 144,170/s - - NEW",
        "all: only the candidate has this measurement",
        "gone, only the base has it: t.py::gone",
        "2 FAIL, 2 PASS (1 better), 1 INCONCLUSIVE, 5 NEW. A FAIL is a proven loss",
        "A PASS excludes a loss of 5 % (throughput, p50, peak_memory), 25 % (p99), 1 pt (accuracy)",
    ],
)
def test_text(compare: ComparedSources, text: str) -> None:
    """Both sources, each value with its unit, each verdict, and why it is open."""
    assert text in _words(_text(compare))


def test_the_text_fits(compare: ComparedSources) -> None:
    """Lines have 80 columns at most, even with long names, extreme values and two machines."""
    assert max(map(len, _text(compare).splitlines())) <= 80
    long = "tests/a_folder/" + "very_" * 30 + "long.py::test_it"
    extreme = [
        Source(
            "refs/heads/" + "x" * 90,
            "branch",
            tuple(
                make_entry(
                    {name: Estimate(value, value / 9, value * 9) for name in _metrics()},
                    run=make_run(n, machine=machine),
                    test=long,
                )
                for machine in (MACHINE, BIGGER)
            ),
        )
        for n, value in ((0, 1e-3), (1, 0.9))
    ]
    text = _text(_compare(*extreme))
    assert max(map(len, text.splitlines())) <= 80
    assert "8cpu" in text
    assert "4cpu" in text


def test_columns_are_aligned(compare: ComparedSources) -> None:
    """Tables of all measurements have the same columns, under one header."""
    rows = [line for line in _text(compare).splitlines() if re.match("metric |throughput ", line)]
    assert len(rows) == 3
    header, first, second = rows
    assert first.index("FAIL") == second.index("NEW") == header.index("verdict")


def test_colours(compare: ComparedSources) -> None:
    """On a terminal a FAIL is red, and a gain is green."""
    text = "\n".join(comparison_lines(compare, 80, colour=True))
    assert "\x1b[31mFAIL" in text
    assert re.search(r"\x1b\[1;32mPASS better", text)
    assert "\x1b" not in _text(compare)


@pytest.mark.parametrize(
    ("kind", "numbers", "text"),
    [
        ("branch", range(3), f"main: branch, 3 sessions up to {commit_of(2)[:8]}, 2025-11-26"),
        ("commit", range(1), f"commit: commit, 1 session of {commit_of(0)[:8]}, 2025-11-24"),
        ("run", range(1), f"latest: run, 1 session of {commit_of(0)[:8]}, 2025-11-24"),
    ],
)
def test_described(kind: Kind, numbers: range, text: str) -> None:
    """The kind of a source, its number of sessions and its code."""
    source = _source(kind, numbers)
    assert described(source, side_of(source)) == text


def test_a_file_without_a_commit() -> None:
    """Outside of a repository there is no code to name."""
    entry = make_entry(run=make_run(commit=""))
    run = dataclasses.replace(entry.run, revision=dataclasses.replace(entry.run.revision, date=""))
    source = Source("a.json", "file", (dataclasses.replace(entry, run=run),))
    assert described(source, side_of(source)) == "a.json: file, 1 session"


def test_markdown_for_a_pull_request(compare: ComparedSources) -> None:
    """A heading, and one table whose cells hold any name of a test."""
    lines = list(comparison_markdown(compare))

    assert lines[0] == "### dlperf: `commit` against `main`"
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 5 + 5
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}
    assert any(line.endswith("| **FAIL** |") for line in table)
    assert any(r"`tests/test_model.py::test_other[a\|b]`" in line for line in table)
    start = lines.index(table[0])
    assert lines[start - 1] == "" == lines[start + len(table)]
    assert "Gone, only the base has it: t.py::gone" in lines


def test_json(compare: ComparedSources) -> None:
    """Finite plain values, with all that the table shows."""
    text = json.dumps(comparison_json(compare), allow_nan=False)
    read = json.loads(text)

    assert read["schema"] == 1
    assert read["failed"] is True
    assert read["base"] == {
        "given": "main",
        "kind": "branch",
        "commit": commit_of(7),
        "branch": "main",
        "date": "2025-12-01",
        "sessions": {"least": 1, "most": 8},
        "left_out": ["2 INVALID measurements of main"],
    }
    assert read["warnings"] == ["since the base: tensorflow 2.18.0 -> 2.19.0"]
    assert read["gone"] == ["t.py::gone"]
    assert read["alpha"] == 0.01
    assert read["provable"].keys() == {"throughput", "p50", "p99", "peak_memory", "accuracy"}
    first, second = read["measurements"]
    assert (first["test"], first["base_sessions"], first["candidate_sessions"]) == (TEST, 8, 5)
    assert (second["test"], second["base_commit"]) == (PIPED, None)
    rows = {row["metric"]: row for row in first["metrics"]}
    lost = rows["throughput"]
    assert (lost["unit"], lost["better"], lost["verdict"]) == ("1/s", "higher", "FAIL")
    assert lost["change"]["value"] == pytest.approx(1 / 1.2 - 1, rel=1e-5)
    assert lost["change"]["low"] < lost["change"]["value"] < lost["change"]["high"]
    assert rows["peak_memory"]["improved"] is True
    assert rows["accuracy"]["alpha"] < lost["alpha"] * 10 <= 0.1
    assert lost["provable"] == pytest.approx(read["provable"]["throughput"])
    assert rows["accuracy"]["fails_at"] < 0
    assert second["metrics"][0]["change"] is None


def test_csv_has_a_row_a_metric(compare: ComparedSources) -> None:
    """Plain numbers in base units; missing values are empty."""
    header, *rows = csv.reader(comparison_csv(compare))

    assert tuple(header) == CSV_COLUMNS
    assert len(rows) == 10
    named = [dict(zip(header, row, strict=True)) for row in rows]
    lost = named[0]
    assert (lost["test"], lost["name"], lost["metric"]) == (TEST, "", "throughput")
    assert (lost["unit"], lost["better"], lost["verdict"]) == ("1/s", "higher", Verdict.FAIL)
    assert float(lost["base"]) == 144_170
    assert float(lost["change_low"]) < float(lost["change"]) < float(lost["change_high"])
    assert (lost["base_commit"], lost["base_sessions"]) == (commit_of(7), "8")
    new = named[5]
    assert (new["test"], new["base"], new["change"], new["verdict"]) == (PIPED, "", "", "NEW")
    assert all(math.isfinite(float(row["candidate"])) for row in named)


def test_optional_lines() -> None:
    """Nothing is gone, changed or left out, so no line is about it."""
    same = _compare(_source("branch", range(8)), _source("commit", range(20, 28)))
    for text in (_text(same), "\n".join(comparison_markdown(same))):
        assert "gone" not in text.lower()
        assert "software" not in text
        assert "left out" not in text
        assert "better" not in text
        assert "FAIL," not in text


@pytest.mark.parametrize("metric", ["train.time_to_accuracy(99.5%)", "train.peak_memory"])
def test_a_long_name_fits(compare: ComparedSources, metric: str) -> None:
    """It takes several lines: the table stays within the terminal, and no value is cut off."""
    (first, *_) = compare.comparison.measurements
    row = dataclasses.replace(first.rows[0], metric=metric)
    comparison = dataclasses.replace(
        compare.comparison, measurements=(dataclasses.replace(first, rows=(row,)),)
    )
    compare = dataclasses.replace(compare, comparison=comparison)
    lines = list(comparison_lines(compare, 80, colour=False))
    assert max(map(len, lines)) <= 80
    table = lines[lines.index(next(line for line in lines if line.startswith("metric"))) :]
    joined = "".join(line.split("  ")[0] for line in table[1:4])
    assert joined == metric
    assert not any("…" in line for line in lines)
