"""The report of a timeline: sparklines, and when and how each level changed."""

from __future__ import annotations

import dataclasses
import json
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT, estimate
from entries import TEST, commit_of, make_entry, make_run
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.history.timeline import Timeline, timeline_of
from pytest_dlperf.history.timeline_report import history_json, history_lines, sparkline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_dlperf.history.entries import Entry


def _entries(
    levels: Sequence[float],
    *,
    commits: Callable[[int], str] = commit_of,
    **fields: Any,  # noqa: ANN401 - any field
) -> tuple[Entry, ...]:
    random = np.random.default_rng(0)
    entries = []
    for number, level in enumerate(levels):
        noise = np.exp(random.normal(0, 0.01, 2))
        metrics = {
            "throughput": estimate(float(level * noise[0])),
            "p50": estimate(float(0.002 * noise[1])),
        }
        run = make_run(number, commit=commits(number), branch="main" if number % 10 else "feature")
        entries.append(make_entry(metrics, run=run, **fields))
    return tuple(entries)


def _timeline(
    entries: tuple[Entry, ...],
    metrics: Sequence[str] = ("throughput", "p50"),
    left_out: tuple[str, ...] = (),
) -> Timeline:
    return timeline_of(entries, left_out, metrics, 0.001, np.random.default_rng(0))


def _text(timeline: Timeline, commits: int | None = None) -> str:
    return "\n".join(history_lines(timeline, 80, lambda *_: commits, colour=False))


def _words(timeline: Timeline, commits: int | None = None) -> str:
    return " ".join(_text(timeline, commits).split())


SLOWER = [1000.0] * 60 + [900.0] * 40


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.integers(1, 60))
def test_a_sparkline_fits(values: list[float], width: int) -> None:
    """A block for each value if there is room; the extremes are the lowest and highest block."""
    line = sparkline(np.array(values), width)
    assert len(line) == min(width, len(values))
    assert set(line) <= set("▁▂▃▄▅▆▇█")
    if len(values) <= width and min(values) < max(values):
        assert line[int(np.argmin(values))] == "▁"
        assert line[int(np.argmax(values))] == "█"


def test_sparklines_by_hand() -> None:
    """Heights are proportional, equal values are level, neighbours share a median if too many."""
    assert sparkline(np.arange(8.0), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.full(3, 7.0), 8) == "▅▅▅"
    assert sparkline(np.array([0.0, 1, 0, 7, 7, 0]), 2) == "▁█"


@pytest.mark.parametrize(
    "text",
    [
        TEST,
        "100 runs, 2025-11-24 to 2026-03-03, on test-cpu-2.4ghz-4cpu-16gib",
        "branches: main (90), feature (10)",
        "ClosedLoop(clients=64), Serving()",
        "left out: 2 runs with scenario Offline()",
        "metric oldest to newest first median last",
        "from run 61 of 100",
        "the first bad commit is in ",
        "find it: git bisect start ",
        "counts as good",
        "no change of level beyond the noise: p50",
        "A level is 5 runs or more. Of histories in which nothing changed, 0.2 % show a change.",
    ],
)
def test_text(text: str) -> None:
    """The runs, the values, the change, and what to do about it."""
    timeline = _timeline(_entries(SLOWER), left_out=("2 runs with scenario Offline()",))
    assert text in _words(timeline)


def test_the_text_fits() -> None:
    """Lines have 80 columns at most; commands can be copied nevertheless."""
    timeline = _timeline(_entries(SLOWER))
    text = _text(timeline)
    assert max(map(len, text.splitlines())) <= 80
    (change,) = timeline.curves[0].changes
    command = text[text.index("git bisect") : text.index("\n\nA commit whose")]
    words = shlex.split(command.replace("\\\n", ""))
    assert words[:5] == ["git", "bisect", "start", change.bad[:12], change.good[:12]]
    assert words[-3:] == [
        TEST,
        f"--dlperf-against={change.good[:12]}",
        "--dlperf-budgets=throughput >= baseline",
    ]


def test_the_mark_is_below_the_change() -> None:
    """Each change has a mark in the column of its run."""
    lines = _text(_timeline(_entries(SLOWER))).splitlines()
    row = next(index for index, line in enumerate(lines) if line.startswith("throughput "))
    spark, mark = lines[row].split()[1], lines[row + 1]
    column = mark.index("^") - lines[row].index(spark)
    assert column == pytest.approx(0.6 * len(spark), abs=1)


def test_a_gain() -> None:
    """A gain is reported, but there is nothing to bisect."""
    timeline = _timeline(_entries([900.0] * 60 + [1000.0] * 40))
    assert "(better; 95 %:" in _words(timeline)
    assert "the first better commit is in " in _words(timeline)
    assert "bisect" not in _text(timeline)


@pytest.mark.parametrize(("commits", "number"), [(12, " (12 commits)"), (None, "")])
def test_a_range_of_commits(commits: int | None, number: str) -> None:
    """It has the number of commits, if git knows it."""
    timeline = _timeline(_entries(SLOWER))
    (change,) = timeline.curves[0].changes
    expected = f"the first bad commit is in {change.good[:8]}..{change.bad[:8]}{number} find it"
    assert expected in _words(timeline, commits)


def test_a_single_commit() -> None:
    """It is named."""
    timeline = _timeline(_entries(SLOWER))
    (change,) = timeline.curves[0].changes
    assert f"the first bad commit is {change.bad[:8]} find it" in _words(timeline, 1)


def test_the_same_commit_before_and_after() -> None:
    """The code is not the cause; the software that changed is named."""
    upgraded = dataclasses.replace(ENVIRONMENT, tensorflow="2.19.0")
    old, new = (
        _entries(SLOWER, commits=lambda _: "a" * 40, environment=environment)
        for environment in (ENVIRONMENT, upgraded)
    )
    words = _words(_timeline((*old[:60], *new[60:])))
    assert "aaaaaaaa was measured before and after it: the code did not change" in words
    assert "what else changed there: tensorflow 2.18.0 -> 2.19.0" in words
    assert "bisect" not in words


@pytest.mark.parametrize(
    ("commits", "side"),
    [
        (lambda _: "", "before"),
        (lambda n: f"{commit_of(n)}+" if n < 60 else commit_of(n), "before"),
        (lambda n: f"{commit_of(n)}+" if n > 50 else commit_of(n), "after"),
    ],
)
def test_unknown_commits(commits: Callable[[int], str], side: str) -> None:
    """Outside of a repository, or with uncommitted changes."""
    words = _words(_timeline(_entries(SLOWER, commits=commits)))
    assert f"the first bad commit cannot be named: no run {side} it was of committed code" in words
    assert "bisect" not in words


def test_too_few_runs() -> None:
    """No error rate is claimed."""
    words = _words(_timeline(_entries([1000.0, 500.0, 500.0])))
    assert "3 of 10 runs: too few to tell a change of level from noise" in words
    assert "0.2 %" not in words
    assert "1 run, 2025-11-24, on" in _words(_timeline(_entries([1000.0])))


def test_a_newest_run_without_a_bound() -> None:
    """What it measured is told, since the curve ends with an earlier run."""
    *entries, newest = _entries([1000.0, 1000.0, 20.0])
    slow = dataclasses.replace(newest, unbounded={"p99": estimate(0.0116)})

    words = _words(_timeline([*entries, slow]))

    assert "p99 of the newest run is left out of its curve: 11.6 ms, and the run was too" in words
    assert "left out of its curve" not in _words(_timeline([*entries, newest]))


def test_adjusted_metrics() -> None:
    """The report names those that were adjusted for the machine's speed."""
    timeline = _timeline(_entries(SLOWER, yardstick=1e-6))
    assert "machine's speed was allowed for: throughput, p50" in _words(timeline)


def test_json() -> None:
    """Finite plain values: each run, each metric's values and changes."""
    timeline = _timeline(_entries(SLOWER), left_out=("something",))
    read = json.loads(json.dumps(history_json(timeline), allow_nan=False))

    assert (read["test"], read["name"], read["left_out"]) == (TEST, "", ["something"])
    assert len(read["runs"]) == 100
    assert read["runs"][3]["commit"] == commit_of(3)
    throughput, p50 = read["metrics"]
    assert (throughput["metric"], throughput["unit"], throughput["better"]) == (
        "throughput",
        "1/s",
        "higher",
    )
    assert len(throughput["values"]) == 100
    assert throughput["first"] == throughput["values"][0]
    (change,) = throughput["changes"]
    assert change["low"] <= change["run"] <= change["high"]
    assert change["bisect"].startswith(f"git bisect start {change['bad'][:12]} ")
    assert change["worse"] is True
    assert p50["changes"] == []
