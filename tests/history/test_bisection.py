"""Bisection: the command that is printed does in git what it is said to do."""

from __future__ import annotations

import dataclasses
import shlex
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
from git_repositories import git

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.detect import parse_detect
from pytest_dlperf.history.bisection import IN_TURN, bisection, budget_between
from pytest_dlperf.history.timeline import LevelChange
from pytest_dlperf.metrics import METRICS, define, users_metric
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from pathlib import Path

_TEST = "tests/test_a.py::test_it[a b-'c']"
CHANGE = LevelChange(
    run=30,
    low=29,
    high=31,
    change=counted(-0.04),
    worse=True,
    before=1000.0,
    after=960.0,
    good="a" * 40,
    bad="b" * 40,
    software=(),
)


def _words(metric: str, change: LevelChange = CHANGE) -> list[str]:
    """The arguments that pytest is to get."""
    whole = shlex.split(" ".join(bisection(_TEST, metric, change)))
    return whole[whole.index("sh", whole.index("-c")) + 1 :]


def _option(words: list[str], name: str) -> str | None:
    return next((word.split("=", 1)[1] for word in words if word.startswith(f"{name}=")), None)


def test_a_speed_is_measured_in_turn_with_the_good_commit() -> None:
    """By a budget on what became worse, with a detect that finds a loss of this size."""
    words = _words("throughput")
    assert words == [
        _TEST,
        f"--dlperf-against={'a' * 12}",
        "--dlperf-budgets=throughput >= baseline",
        "--dlperf-detect=throughput 4.2%",
    ]


def test_a_loss_that_is_found_anyhow() -> None:
    """Where the metric's own detect is smaller than the loss, nothing is said of it."""
    larger = dataclasses.replace(CHANGE, change=counted(0.3))
    words = _words("p50", larger)
    assert _option(words, "--dlperf-budgets") == "p50 <= baseline"
    assert _option(words, "--dlperf-detect") is None


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics() -> None:
    """Shares are compared row by row with the good commit's, other scores with a level between."""
    define(users_metric("ndcg", "share", "higher", 0.01))
    define(users_metric("rank", "1", "lower", 0.05))
    change = dataclasses.replace(CHANGE, change=counted(-0.004), before=0.9, after=0.896)
    assert _words("ndcg", change)[1:] == [
        f"--dlperf-against={'a' * 12}",
        "--dlperf-budgets=ndcg >= baseline",
        "--dlperf-detect=ndcg 0.4pt",
    ]
    change = dataclasses.replace(CHANGE, change=counted(3.0), before=4.0, after=16.0)
    assert _words("rank", change) == [_TEST, "--dlperf-budgets=rank <= 8"]


def test_a_goal() -> None:
    """The time to an accuracy is held against a level between, and can be read again."""
    change = dataclasses.replace(CHANGE, change=counted(3.0), before=4.0, after=16.0)
    (_, budget) = _words("train.time_to_accuracy(95%)", change)
    assert budget == "--dlperf-budgets=train.time_to_accuracy(95%) <= 8s"
    assert parse_budget(budget.partition("=")[2]).limit(0.0) == 8


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_options_that_pytest_takes(metric: str) -> None:
    """Every metric has a budget and a detect that can be read, and that the change breaks."""
    of = METRICS[metric]
    size = 0.004 if of.unit == "share" else 0.02
    worse = size if of.better == "lower" else -size
    before, after = (0.9, 0.9 + worse) if of.unit == "share" else (1000.0, 1000 * (1 + worse))
    change = dataclasses.replace(CHANGE, change=counted(worse), before=before, after=after)

    words = _words(metric, change)

    budget = parse_budget(_option(words, "--dlperf-budgets") or "")
    assert budget.metric.name == metric
    detect = _option(words, "--dlperf-detect")
    if metric in IN_TURN:
        assert budget.relative
        assert detect is not None
        (parsed,) = parse_detect(detect, "detect")
        assert parsed.loss == pytest.approx(size, rel=0.05)
    else:
        assert not budget.relative
        low, high = sorted((before, after))
        assert low < budget.limit(0.0) < high
        assert detect is None
        assert _option(words, "--dlperf-against") is None


@pytest.mark.parametrize(
    ("metric", "before", "after", "budget"),
    [
        ("peak_memory", 1e9, 4e9, "peak_memory <= 2e+09B"),
        ("max_rate", 500.0, 0.0, "max_rate >= 250/s"),
        ("errors", 0.0, 0.02, "errors <= 0.01"),
        ("compile_time", 1.0, 1.21, "compile_time <= 1.1s"),
        ("loss", 0.25, 1.0, "loss <= 0.5"),
    ],
)
def test_a_budget_between_two_levels(metric: str, before: float, after: float, budget: str) -> None:
    """Halfway, as a ratio where there is one."""
    change = dataclasses.replace(CHANGE, before=before, after=after)
    assert budget_between(METRICS[metric], change) == budget
    parse_budget(budget)


def test_lines_that_fit() -> None:
    """Each part stands on a line of 80 columns with what is put around it."""
    for metric in METRICS:
        parts = list(bisection("tests/test_model.py::test_fast", metric, CHANGE))
        assert all(len(part) <= 72 for part in parts)


def _repository(folder: Path, commits: int) -> list[str]:
    git(folder, "init", "-q", "-b", "main")
    hashes = []
    for number in range(commits):
        (folder / "number").write_text(str(number))
        git(folder, "add", "number")
        git(folder, "commit", "-q", "-m", str(number))
        hashes.append(git(folder, "rev-parse", "HEAD").strip())
    return hashes


@pytest.mark.parametrize("broken", [set(), {4, 5}])
def test_git_finds_the_first_bad_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: set[int]
) -> None:
    """Run as it is printed, with a pytest that fails from commit 6 on, and cannot run on some."""
    repository, programs = tmp_path / "repository", tmp_path / "programs"
    repository.mkdir()
    programs.mkdir()
    hashes = _repository(repository, 10)
    pytest_there = programs / "pytest"
    pytest_there.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = {shlex.quote(_TEST)} ] || exit 7\n'
        "number=$(cat number)\n"
        f'case " {" ".join(map(str, broken))} " in *" $number "*) exit 4;; esac\n'
        '[ "$number" -lt 6 ]\n'
    )
    pytest_there.chmod(pytest_there.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    change = dataclasses.replace(CHANGE, good=hashes[0], bad=hashes[9])
    command = " \\\n  ".join(bisection(_TEST, "throughput", change))

    done = subprocess.run(  # noqa: S603 - the command that is tried
        ["/bin/sh", "-c", command], cwd=repository, capture_output=True, text=True, check=False
    )

    if broken:
        # Neither of those that cannot run can be told from the first bad one.
        assert "could be any of" in done.stdout + done.stderr
        assert hashes[6] in done.stdout
    else:
        assert f"{hashes[6]} is the first bad commit" in done.stdout
        assert done.returncode == 0
