"""`pytest-dlperf history`: which test, runs and metrics it shows."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import MACHINE, estimate
from entries import TEST, commit_of, make_entry, make_run
from git_repositories import git
from history_project import HistoryProject

from pytest_dlperf.cli import main
from pytest_dlperf.metrics import define, users_metric
from pytest_dlperf.results.verdict import Verdict

OTHER = "tests/test_model.py::test_other[a|b]"


def _json(
    project: HistoryProject, capsys: pytest.CaptureFixture[str], *words: str
) -> list[dict[str, Any]]:
    status = main(["history", *words, "--rootdir", str(project.root), "--format", "json"])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    content = json.loads(out)
    assert content["schema"] == 1
    measurements: list[dict[str, Any]] = content["measurements"]
    return measurements


def _refused(project: HistoryProject, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    status = main(["history", *words, "--rootdir", str(project.root)])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    return err.splitlines()


def test_five_hundred_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A step of 4 % at run 300 in a noise of 3 % is found within 10 runs, with its commits."""
    random = np.random.default_rng(0)
    project = HistoryProject(tmp_path)
    entries = []
    for at in range(500):
        throughput, p50 = np.exp(random.normal(0, 0.03, 2)) * (1 if at < 300 else 1.04)
        metrics = {"throughput": estimate(1000 / throughput), "p50": estimate(0.002 * p50)}
        entries.append(make_entry(metrics, run=make_run(at)))
    project.keep(entries)

    assert main(["history", "test_fast", "--rootdir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    (measurement,) = _json(project, capsys, "test_fast")

    assert max(map(len, out.splitlines())) <= 80
    assert "git bisect run" in out
    for curve in measurement["metrics"]:
        (change,) = curve["changes"]
        assert abs(change["run"] - 300) <= 10
        assert change["low"] <= 300 <= change["high"]
        assert change["good"] == commit_of(change["low"] - 1)
        assert change["bad"] == commit_of(change["high"])
        sign = -1 if curve["metric"] == "throughput" else 1
        assert change["change"]["value"] == pytest.approx(sign * 0.04, abs=0.015)


def test_a_part_of_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part is enough if only one test has it; a whole name is that test and no longer one."""
    project = HistoryProject(tmp_path)
    project.measure(1000, commit="a" * 40, tests=(TEST, OTHER, f"{TEST}er"))

    assert _json(project, capsys, "other[")[0]["test"] == OTHER
    assert _json(project, capsys, TEST)[0]["test"] == TEST
    assert _refused(project, capsys, "fast") == [
        "pytest-dlperf: 'fast' is a part of 2 tests:",
        f"  {TEST}",
        f"  {TEST}er",
    ]


def test_unknown_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Similar names are listed, but not more than ten."""
    project = HistoryProject(tmp_path)
    project.measure(1000, commit="a" * 40, tests=[f"a.py::test_{n:02}" for n in range(12)])

    unknown = _refused(project, capsys, "tset_03")
    ambiguous = _refused(project, capsys, "test_")

    assert unknown[0] == (
        f"pytest-dlperf: no test of {tmp_path}/.dlperf/history.sqlite is called like 'tset_03'; "
        "there are:"
    )
    assert unknown[1] == "  a.py::test_03"
    assert len(ambiguous) == 12
    assert ambiguous[-1] == "  and 2 more"


def test_measurements_of_one_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each name has a timeline of its own, and a share of the false alarms."""
    project = HistoryProject(tmp_path)
    project.measure(1000, commit="a" * 40, sessions=2)
    project.measure(2000, commit="b" * 40, name="batched")

    measurements = _json(project, capsys, "test_fast")
    assert main(["history", "test_fast", "--rootdir", str(tmp_path)]) == 0

    assert [(m["name"], len(m["runs"])) for m in measurements] == [("", 2), ("batched", 1)]
    assert {m["alpha"] for m in measurements} == {0.002 / 4}
    assert f"\n\n{TEST} [batched]\n" in capsys.readouterr().out


def test_branch_limit_and_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options restrict the runs and metrics that are shown."""
    project = HistoryProject(tmp_path)
    for number in range(6):
        project.measure(1000, commit=commit_of(number), branch="main" if number % 2 else "feature")

    (whole,) = _json(project, capsys, "fast")
    (branch,) = _json(project, capsys, "fast", "--branch", "feature", "--metric", "p50")
    (newest,) = _json(project, capsys, "fast", "--limit", "2")

    assert [run["commit"] for run in whole["runs"]] == [commit_of(n) for n in range(6)]
    assert {run["branch"] for run in branch["runs"]} == {"feature"}
    assert len(branch["runs"]) == 3
    assert [curve["metric"] for curve in branch["metrics"]] == ["p50"]
    assert [run["commit"] for run in newest["runs"]] == [commit_of(4), commit_of(5)]


@pytest.mark.usefixtures("own_metrics")
def test_metrics_of_all_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of training, with a goal and users' are shown, even if undefined in this process."""
    define(users_metric("ndcg", "share", "higher", 0.01))
    names = ("train.time", "train.time_to_accuracy(95%)", "ndcg")
    metrics = {name: estimate(0.5) for name in names}
    project = HistoryProject(tmp_path)
    project.keep(make_entry(metrics, run=make_run(number)) for number in range(3))
    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})

    (whole,) = _json(project, capsys, "fast")
    (goal,) = _json(project, capsys, "fast", "--metric", "train.time_to_accuracy(0.95)")
    (own,) = _json(project, capsys, "fast", "--metric", "ndcg")
    assert main(["history", "fast", "--rootdir", str(tmp_path)]) == 0
    text = capsys.readouterr().out

    assert tuple(curve["metric"] for curve in whole["metrics"]) == names
    assert [curve["metric"] for curve in goal["metrics"]] == [names[1]]
    assert [(curve["metric"], curve["unit"]) for curve in own["metrics"]] == [("ndcg", "share")]
    assert max(map(len, text.splitlines())) <= 80
    assert f"\n{names[1]}  " in text


def test_machine_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That of the newest run, unless another is given; the others are named."""
    bigger = dataclasses.replace(MACHINE, cores=8)
    project = HistoryProject(tmp_path)
    project.measure(1000, commit="a" * 40, machine=bigger)
    project.measure(1000, commit="b" * 40)

    (newest,) = _json(project, capsys, "fast")
    (other,) = _json(project, capsys, "fast", "--machine", bigger.slug)

    assert (newest["machine"], len(newest["runs"])) == (MACHINE.slug, 1)
    assert newest["left_out"] == [f"runs on {bigger.slug} (--machine)"]
    assert (other["machine"], other["left_out"]) == (bigger.slug, [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("fast", "--branch", "nix"),
            "nothing was measured in {}/.dlperf/history.sqlite on branch",
        ),
        (("fast", "--machine", "nix"), "nothing was measured in {}/.dlperf/history.sqlite on mach"),
        (("fast", "--metric", "loss"), "has no loss it has throughput, p50: choose with --metric"),
        (("fast", "--metric", "nix"), "unknown metric 'nix' metrics: throughput"),
        (("bad",), "of a.py::test_bad there are only runs whose measuring failed"),
    ],
)
def test_nothing_to_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    """The message says what was looked for, and where."""
    project = HistoryProject(tmp_path)
    project.measure(1000, commit="a" * 40)
    project.measure(1000, commit="a" * 40, tests=("a.py::test_bad",), verdict=Verdict.INVALID)
    text = " ".join(" ".join(_refused(project, capsys, *words)).split())
    assert message.format(tmp_path) in text


@pytest.mark.parametrize("words", [("fast", "--limit", "0"), ("fast", "--limit", "x"), ()])
def test_wrong_arguments(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    """They are refused by argparse, with an exit status of 2."""
    with pytest.raises(SystemExit) as ended:
        main(["history", *words])
    assert ended.value.code == 2
    assert "usage: pytest-dlperf history" in capsys.readouterr().err


def test_number_of_commits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a repository the commits of a change are counted; a single one is named."""
    project = HistoryProject(tmp_path, commits=25)
    for number, commit in enumerate(project.commits):
        if number in {12, 13, 14}:
            continue
        project.measure(1000 if number < 15 else 700, commit=commit)

    assert main(["history", "fast", "--metric", "throughput", "--rootdir", str(tmp_path)]) == 0
    first = capsys.readouterr().out
    project.measure(1000, commit=project.commits[14], sessions=10)
    project.measure(700, commit=project.commits[15], sessions=10)
    words = ["--limit", "20", "--rootdir", str(tmp_path)]
    assert main(["history", "fast", "--metric", "throughput", *words]) == 0
    second = capsys.readouterr().out

    good, bad = project.commits[11], project.commits[15]
    assert f"the first bad commit is in {good[:8]}..{bad[:8]} (4 commits)" in first
    assert git(tmp_path, "rev-list", "--count", f"{good}..{bad}").strip() == "4"
    assert f"the first bad commit is {bad[:8]}\n" in second


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_the_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """The curve of a history is drawn with others, as names of tests are."""
    project = HistoryProject(tmp_path)
    project.keep(
        [
            make_entry(
                {"throughput": estimate(1000.0 + at)}, run=make_run(at), test="t.py::test_汉"
            )
            for at in range(12)
        ]
    )
    screen = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr("sys.stdout", screen)

    assert main(["history", "test_", "--rootdir", str(tmp_path)]) == 0

    screen.seek(0)
    out = screen.read()
    assert "test_?" in out
    assert "_..-~~==+**#" in out


@pytest.mark.subprocess
def test_a_full_disk_and_a_closed_pipe(tmp_path: Path) -> None:
    """The first is an error in words; the second is none, as its reader has what it wanted."""
    project = HistoryProject(tmp_path)
    project.keep([make_entry(run=make_run(at)) for at in range(3)])
    code = "import sys; from pytest_dlperf.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "history", "test_", "--rootdir", str(tmp_path)]
    read, write = os.pipe()
    os.close(read)

    with Path("/dev/full").open("wb") as full:
        on_disk = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)  # noqa: S603
    in_pipe = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)  # noqa: S603
    os.close(write)

    problem = b"pytest-dlperf: the output cannot be written: No space left on device\n"
    assert (on_disk.returncode, on_disk.stderr) == (2, problem)
    assert (in_pipe.returncode, in_pipe.stderr) == (0, b"")


def test_a_change_that_all_tests_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told once, as text and as JSON, and is no change of the test that was asked for."""
    project = HistoryProject(tmp_path)
    tests = [f"tests/test_model.py::test_{letter}" for letter in "abcde"]
    random = np.random.default_rng(0)
    project.keep(
        make_entry(
            {"throughput": estimate(float(level * np.exp(random.normal(0, 0.01))))},
            run=make_run(at),
            test=test,
        )
        for at, level in enumerate([1000] * 20 + [800] * 15)
        for test in tests
    )

    assert main(["history", "test_a", "--rootdir", str(tmp_path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    (measurement,) = _json(project, capsys, "test_a")

    assert "5 of 5 tests became 2" in text
    assert "the machine, its software or code that they share" in text
    assert "changes were sought beside 4 other tests of the machine class: throughput" in text
    assert "git bisect" not in text
    (common,) = measurement["common"]
    assert (common["kind"], common["tests"], common["of"], common["run"]) == ("speed", 5, 5, 20)
    assert measurement["metrics"][0]["changes"] == []
    assert measurement["metrics"][0]["other_tests"] == 4


def test_too_few_tests_to_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A step beside fewer than three other tests may be the machine's, which is said."""
    project = HistoryProject(tmp_path)
    random = np.random.default_rng(0)
    project.keep(
        make_entry(
            {"throughput": estimate(float(level * np.exp(random.normal(0, 0.01))))},
            run=make_run(at),
        )
        for at, level in enumerate([1000] * 20 + [800] * 15)
    )
    assert main(["history", "test_", "--rootdir", str(tmp_path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "a change of throughput may be the machine's: too few other tests (3)" in text
