"""The history's report: sparklines, and for each change when it came and how to find its commit."""

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
    for at, level in enumerate(levels):
        noise = np.exp(random.normal(0, 0.01, 2))
        metrics = {
            "throughput": estimate(float(level * noise[0])),
            "p50": estimate(float(0.002 * noise[1])),
        }
        run = make_run(at, commit=commits(at), branch="main" if at % 10 else "feature")
        entries.append(make_entry(metrics, run=run, **fields))
    return tuple(entries)


def _told(
    entries: tuple[Entry, ...],
    metrics: Sequence[str] = ("throughput", "p50"),
    left_out: tuple[str, ...] = (),
) -> Timeline:
    return timeline_of(entries, left_out, metrics, 0.001, np.random.default_rng(0))


def _text(told: Timeline, commits: int | None = None) -> str:
    return "\n".join(history_lines(told, 80, lambda *_: commits, colour=False))


def _words(told: Timeline, commits: int | None = None) -> str:
    return " ".join(_text(told, commits).split())


SLOWER = [1000.0] * 60 + [900.0] * 40


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.integers(1, 60))
def test_a_sparkline_fits(values: list[float], width: int) -> None:
    """As many blocks as there are values, or as there is room; the extremes are the ends."""
    line = sparkline(np.array(values), width)
    assert len(line) == min(width, len(values))
    assert set(line) <= set("▁▂▃▄▅▆▇█")
    if len(values) <= width and min(values) < max(values):
        assert line[int(np.argmin(values))] == "▁"
        assert line[int(np.argmax(values))] == "█"


def test_sparklines_by_hand() -> None:
    """Heights are proportional, equal values are level, and neighbours share a median."""
    assert sparkline(np.arange(8.0), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.full(3, 7.0), 8) == "▅▅▅"
    assert sparkline(np.array([0.0, 1, 0, 7, 7, 0]), 2) == "▁█"


@pytest.mark.parametrize(
    "said",
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
def test_what_the_text_says(said: str) -> None:
    """What was measured when, the figures, the change and what to do about it."""
    told = _told(_entries(SLOWER), left_out=("2 runs with scenario Offline()",))
    assert said in _words(told)


def test_the_text_fits() -> None:
    """Lines have 80 columns at the most; commands are whole all the same."""
    told = _told(_entries(SLOWER))
    text = _text(told)
    assert max(map(len, text.splitlines())) <= 80
    (change,) = told.curves[0].changes
    command = text[text.index("git bisect") : text.index("\n\nA commit whose")]
    words = shlex.split(command.replace("\\\n", ""))
    assert words[:5] == ["git", "bisect", "start", change.bad[:12], change.good[:12]]
    assert words[-3:] == [
        TEST,
        f"--dlperf-against={change.good[:12]}",
        "--dlperf-budgets=throughput >= baseline",
    ]


def test_the_mark_is_below_the_change() -> None:
    """Each change has a mark in the column where its runs are."""
    lines = _text(_told(_entries(SLOWER))).splitlines()
    row = next(at for at, line in enumerate(lines) if line.startswith("throughput "))
    spark, mark = lines[row].split()[1], lines[row + 1]
    column = mark.index("^") - lines[row].index(spark)
    assert column == pytest.approx(0.6 * len(spark), abs=1)


def test_a_gain() -> None:
    """What became better is told, but there is nothing to bisect."""
    told = _told(_entries([900.0] * 60 + [1000.0] * 40))
    assert "(better; 95 %:" in _words(told)
    assert "the first better commit is in " in _words(told)
    assert "bisect" not in _text(told)


@pytest.mark.parametrize(("commits", "said"), [(12, " (12 commits)"), (None, "")])
def test_how_many_commits_it_can_be(commits: int | None, said: str) -> None:
    """Where git knows, their number is told."""
    told = _told(_entries(SLOWER))
    (change,) = told.curves[0].changes
    wanted = f"the first bad commit is in {change.good[:8]}..{change.bad[:8]}{said} find it"
    assert wanted in _words(told, commits)


def test_only_one_commit_can_be_it() -> None:
    """Then it is named."""
    told = _told(_entries(SLOWER))
    (change,) = told.curves[0].changes
    assert f"the first bad commit is {change.bad[:8]} find it" in _words(told, 1)


def test_the_same_commit_before_and_after() -> None:
    """Where the code did not change, it was not the code; and what else changed is told."""
    upgraded = dataclasses.replace(ENVIRONMENT, tensorflow="2.19.0")
    old, new = (
        _entries(SLOWER, commits=lambda _: "a" * 40, environment=environment)
        for environment in (ENVIRONMENT, upgraded)
    )
    words = _words(_told((*old[:60], *new[60:])))
    assert "aaaaaaaa was measured before and after it: the code did not change" in words
    assert "what else changed there: tensorflow 2.18.0 -> 2.19.0" in words
    assert "bisect" not in words


@pytest.mark.parametrize(
    ("commits", "side"),
    [
        (lambda _: "", "before"),
        (lambda at: f"{commit_of(at)}+" if at < 60 else commit_of(at), "before"),
        (lambda at: f"{commit_of(at)}+" if at > 50 else commit_of(at), "after"),
    ],
)
def test_commits_that_cannot_be_named(commits: Callable[[int], str], side: str) -> None:
    """Outside of a repository, or with uncommitted changes."""
    words = _words(_told(_entries(SLOWER, commits=commits)))
    assert f"the first bad commit cannot be named: no run {side} it was of committed code" in words
    assert "bisect" not in words


def test_too_few_runs() -> None:
    """What so few runs cannot tell is not promised."""
    words = _words(_told(_entries([1000.0, 500.0, 500.0])))
    assert "3 of 10 runs: too few to tell a change of level from noise" in words
    assert "0.2 %" not in words
    assert "1 run, 2025-11-24, on" in _words(_told(_entries([1000.0])))


def test_the_machine_was_allowed_for() -> None:
    """It is said of which metrics."""
    told = _told(_entries(SLOWER, yardstick=1e-6))
    assert "machine's speed was allowed for: throughput, p50" in _words(told)


def test_json_says_it_all() -> None:
    """Finite plain values: each run, each metric's values and changes."""
    told = _told(_entries(SLOWER), left_out=("something",))
    read = json.loads(json.dumps(history_json(told), allow_nan=False))

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
