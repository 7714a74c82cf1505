"""`pytest-dlperf compare`: the meaning of its two names, its formats and its exit status."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from builders import (
    ENVIRONMENT,
    MACHINE,
    estimate,
    make_accepted,
    make_judgement,
    make_measurement,
    make_record,
)
from entries import TEST, make_entry, make_run
from git_repositories import git
from history_project import HistoryProject

from pytest_dlperf.cli import main
from pytest_dlperf.history.compare import compare_sides
from pytest_dlperf.history.entries import MeasurementId, entry_of
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.record import report_to_json
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "tests/test_model.py::test_other"
BIGGER = dataclasses.replace(MACHINE, cores=8)


@pytest.fixture
def project(tmp_path: Path) -> HistoryProject:
    """Eight sessions of a first commit on main, and eight of a second one, slower by 20 %."""
    project = HistoryProject(tmp_path, commits=3)
    project.measure(1000, commit=project.commits[0], sessions=8)
    project.measure(800, commit=project.commits[1], branch="feature", sessions=8)
    return project


def _run(project: HistoryProject, *words: str) -> int:
    return main(["compare", *words, "--rootdir", str(project.root)])


def _json(
    project: HistoryProject, capsys: pytest.CaptureFixture[str], *words: str
) -> dict[str, Any]:
    status = _run(project, *words, "--format", "json")
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    content: dict[str, Any] = json.loads(out)
    return content


def _refused(project: HistoryProject, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The error message of a comparison that is refused."""
    status = _run(project, *words)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("pytest-dlperf: ")
    assert "Traceback" not in err
    return " ".join(err.split())


@pytest.mark.parametrize("fail_on", [False, True])
def test_a_regression(
    project: HistoryProject, capsys: pytest.CaptureFixture[str], *, fail_on: bool
) -> None:
    """A loss is shown; only with `--fail-on regression` the exit status is 1."""
    words = [*project.commits[:2], *(["--fail-on", "regression"] if fail_on else [])]

    assert _run(project, *words) == int(fail_on)

    out = capsys.readouterr().out
    assert "FAIL" in out
    assert re.search(r"throughput .* -\d\d\.\d %", out)
    assert max(map(len, out.splitlines())) <= 80


def test_a_gain(project: HistoryProject, capsys: pytest.CaptureFixture[str]) -> None:
    """A gain is no regression."""
    assert _run(project, *project.commits[1::-1], "--fail-on", "regression") == 0
    assert "PASS better" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "spelt"),
    [(0, "{}"), (0, "{:.8}"), (0, "HEAD~2"), (0, "v1")],
    ids=["hash", "prefix", "revision", "tag"],
)
def test_commits(
    project: HistoryProject, capsys: pytest.CaptureFixture[str], number: int, spelt: str
) -> None:
    """A commit may have any name that git knows; all its sessions are compared."""
    git(project.root, "tag", "v1", project.commits[0])
    given = spelt.format(project.commits[number])

    content = _json(project, capsys, given, "feature")

    assert content["base"] == {
        "given": given,
        "kind": "commit",
        "commit": project.commits[number],
        "branch": "main",
        "date": "2025-12-02",
        "sessions": {"least": 8, "most": 8},
        "left_out": [],
    }
    assert content["candidate"]["kind"] == "branch"


def test_a_branch_since_its_last_accepted_change(
    project: HistoryProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of uncommitted code are left out, except one that was accepted as a change."""
    project.measure(900, commit=f"{project.commits[1]}+", renews=True)
    project.measure(900, commit=project.commits[2], sessions=3)
    project.measure(500, commit=f"{project.commits[2]}+")

    content = _json(project, capsys, "main", "feature")

    assert content["base"]["sessions"] == {"least": 4, "most": 4}
    assert content["base"]["kind"] == "branch"


def test_failures_on_a_branch(project: HistoryProject, capsys: pytest.CaptureFixture[str]) -> None:
    """Measurements that broke a budget are left out of a base, but not of a candidate."""
    project.measure(500, commit=project.commits[2], verdict=Verdict.FAIL, sessions=2)
    project.measure(500, commit=project.commits[2], verdict=Verdict.INVALID)

    base, candidate = (
        _json(project, capsys, *words) for words in (("main", "feature"), ("feature", "main"))
    )

    assert base["base"]["sessions"] == {"least": 8, "most": 8}
    assert candidate["candidate"]["sessions"] == {"least": 10, "most": 10}
    assert candidate["candidate"]["left_out"] == ["1 INVALID measurement of main"]


def test_a_branch_named_like_a_commit(
    project: HistoryProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """The branch of the history takes precedence, unless the name is a full hash."""
    name = project.commits[0][:8]
    project.measure(700, commit=project.commits[2], branch=name, sessions=2)
    project.measure(700, commit=project.commits[2], branch=project.commits[0], sessions=2)

    short, full = (
        _json(project, capsys, given, "feature")["base"] for given in (name, project.commits[0])
    )

    assert (short["kind"], full["kind"]) == ("branch", "commit")


def test_a_branch_that_only_git_has(
    project: HistoryProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands for its commit, as in CI, which measures without a branch."""
    git(project.root, "branch", "topic", project.commits[0])
    content = _json(project, capsys, "topic", "feature")
    assert content["base"]["kind"] == "commit"


def test_the_latest_run(project: HistoryProject, capsys: pytest.CaptureFixture[str]) -> None:
    """It is compared with its branch as it was before it."""
    project.measure(1000, commit=project.commits[2])

    content = _json(project, capsys, "main", "latest")

    assert content["candidate"]["commit"] == project.commits[2]
    assert content["candidate"]["sessions"] == {"least": 1, "most": 1}
    assert content["base"]["sessions"] == {"least": 8, "most": 8}
    assert content["base"]["left_out"] == ["1 measurement of main that latest has too"]


def _write_report(path: Path, throughput: float, commit: str = "abc") -> None:
    metrics = {"throughput": estimate(throughput), "p50": estimate(1 / throughput)}
    record = make_record(make_judgement(), measurement=make_measurement(metrics))
    content = report_to_json([record], MACHINE.to_json(), ENVIRONMENT.to_json(), commit)
    path.write_text(json.dumps(content))


def test_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reports of `--dlperf-json` need no history."""
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    _write_report(paths[0], 1000)
    _write_report(paths[1], 300)

    status = main(["compare", *map(str, paths), "--fail-on=regression", "--rootdir=/nowhere"])

    out = capsys.readouterr().out
    assert status == 1
    assert "a.json: file, 1 session of abc" in " ".join(out.split())
    assert "-70.0 %" in out


def test_a_file_against_the_history(
    project: HistoryProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report is compared with the sessions on its machine class."""
    path = project.root / "report.txt"
    _write_report(path, 1150)
    content = _json(project, capsys, "main", str(path))
    (measurement,) = content["measurements"]
    assert [row["verdict"] for row in measurement["metrics"]] == ["PASS", "PASS"]


@pytest.mark.parametrize("kind", ["text", "markdown", "csv", "json"])
def test_formats(project: HistoryProject, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """Each format has its syntax."""
    assert _run(project, *project.commits[:2], "--format", kind) == 0
    out = capsys.readouterr().out
    match kind:
        case "json":
            assert json.loads(out)["schema"] == 1
        case "csv":
            assert [row[3] for row in csv.reader(out.splitlines())] == [
                "metric",
                "throughput",
                "p50",
            ]
        case "markdown":
            assert out.startswith("### dlperf: ")
        case "text":
            assert out.startswith("base       ")


def test_only_some_tests_and_metrics(
    project: HistoryProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """By part of the name and by metric; the error rate is shared by fewer metrics."""
    for throughput, branch in ((1000, "a"), (1000, "b")):
        project.measure(throughput, commit="c" * 40, branch=branch, tests=(TEST, OTHER))

    whole = _json(project, capsys, "a", "b")
    part = _json(project, capsys, "a", "b", "--test", "other", "--metric", "p50")

    alphas = [row["alpha"] for it in whole["measurements"] for row in it["metrics"]]
    assert alphas == pytest.approx([0.0045, 0.0005] * 2)
    assert part["measurements"][0]["metrics"][0]["alpha"] == 0.01
    (measurement,) = part["measurements"]
    assert (measurement["test"], [row["metric"] for row in measurement["metrics"]]) == (
        OTHER,
        ["p50"],
    )


def test_machine_classes(project: HistoryProject, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is compared separately; one may be chosen; different ones are not compared."""
    for branch in ("main", "feature"):
        project.measure(2000, commit="c" * 40, branch=branch, machine=BIGGER, sessions=2)
    project.measure(2000, commit="d" * 40, branch="big", machine=BIGGER)

    both = _json(project, capsys, "main", "feature")
    chosen = _json(project, capsys, "main", "feature", "--machine", BIGGER.slug)
    other = _json(project, capsys, project.commits[0], "big")

    machines = [[m["machine"] for m in content["measurements"]] for content in (both, chosen)]
    assert machines == [[MACHINE.slug, BIGGER.slug], [BIGGER.slug]]
    (row, _) = other["measurements"][0]["metrics"]
    assert row["verdict"] == "INCONCLUSIVE"
    assert "another machine class: cores 4 -> 8" in row["reason"]


@pytest.mark.parametrize("named", ["option", "variable"])
def test_another_history(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    named: str,
) -> None:
    """An option, or the environment variable that pytest reads, names another database."""
    project = HistoryProject(tmp_path)
    project.measure(1000, commit="a" * 40)
    project.measure(1000, commit="b" * 40)
    words = ["compare", "a" * 40, "b" * 40, "--rootdir", "/nowhere"]
    if named == "option":
        words += ["--history", project.url]
    else:
        monkeypatch.setenv("DLPERF_HISTORY", project.url)

    assert main(words) == 0
    assert "throughput" in capsys.readouterr().out


def test_a_commit_that_is_not_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A prefix of a commit that git lacks, as in a shallow clone, is looked up in the history."""
    project = HistoryProject(tmp_path)
    for commit in ("abcd1" * 8, "abcd2" * 8):
        project.measure(1000, commit=commit)

    assert _run(project, "abcd1", "abcd2") == 0
    capsys.readouterr()
    assert "abcd is the beginning of 2 commits" in _refused(project, capsys, "abcd", "latest")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("", "main"), "'' is no name: the variable that it comes from may be empty name what to"),
        (("main", " "), "' ' is no name"),
        (("nix", "main"), "nix is no branch, commit or run that was measured"),
        (("--", "-x", "main"), "-x is no branch, commit or run"),
        (("main", "HEAD"), "HEAD is a commit that was not measured"),
        (("main", "d" * 40), "is a commit that was not measured"),
        (("main", "main"), "main and main are the same branch"),
        (("main", "HEAD~2"), "main has no session that is not one of HEAD~2"),
        (("main", "feature", "--test", "nix"), "main has no test with 'nix' in its name tests/"),
        (("main", "feature", "--metric", "nix"), "unknown metric 'nix' metrics: throughput"),
        (("main", "feature", "--metric", "loss"), "feature measured none of loss"),
        (("main", "feature", "--machine", "nix"), "main is a branch that was not measured on nix"),
        (("latest", "main", "--machine", "nix"), "has no run on nix branches: "),
        (("main", "other"), "main and other have no test in common main has tests/"),
        (("main", "dirty"), "dirty is a branch that was not measured"),
        (("main", "HEAD~"), "was measured with uncommitted changes only"),
        (("main", "bad"), "there is nothing to compare but 1 INVALID measurement of bad"),
        (("main", "no.json"), "no.json cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    """The message says what was looked for, where, and what there is instead."""
    project = HistoryProject(tmp_path, commits=3)
    project.measure(1000, commit=project.commits[0])
    project.measure(900, commit="e" * 40, branch="feature")
    project.measure(900, commit="f" * 40, branch="other", tests=(OTHER,))
    project.measure(900, commit=f"{project.commits[1]}+", branch="dirty")
    project.measure(900, commit="b" * 40, branch="bad", verdict=Verdict.INVALID)

    status = main(["compare", "--rootdir", str(tmp_path), *words])

    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert message in " ".join(err.split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00junk", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "is no report"),
        (b'{"schema": 99}', "was written by a newer pytest-dlperf"),
        (b'{"schema": 1, "measurements": [{}]}', "is damaged: measurements[0]: there is no 'test'"),
        (b'{"schema": 1, "measurements": []}', "is no report: KeyError: 'machine'"),
    ],
)
def test_damaged_files(
    project: HistoryProject,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    message: str,
) -> None:
    """A file that is no report is refused by name."""
    path = project.root / "a.json"
    path.write_bytes(content)
    text = _refused(project, capsys, "main", str(path))
    assert message in text
    assert str(path) in text


def test_a_huge_file(project: HistoryProject, capsys: pytest.CaptureFixture[str]) -> None:
    """A gigabyte of junk is not read."""
    path = project.root / "a.json"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    assert "far too large" in _refused(project, capsys, "main", str(path))


def test_a_file_of_another_machine_class(
    project: HistoryProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--machine`, a report of another class is refused."""
    path = project.root / "a.json"
    _write_report(path, 1000)
    text = _refused(project, capsys, str(path), "main", "--machine", BIGGER.slug)
    assert f"was measured on {MACHINE.slug}, not on {BIGGER.slug}" in text


@pytest.mark.parametrize("words", [("compare", "a", "b"), ("history", "test_fast")])
def test_no_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Reading does not create a history; the message says where it would be."""
    assert main([*words, "--rootdir", str(tmp_path)]) == 2
    assert f"there is no history at {tmp_path}/.dlperf/history.sqlite" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_name_too_long_for_a_file(
    project: HistoryProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused like any unknown name."""
    assert "is no branch" in _refused(project, capsys, "x" * 5000, "main")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help has the exit status and the metrics that are compared by default, no others."""
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--help"])
    text = " ".join(capsys.readouterr().out.split())

    assert ended.value.code == 0
    assert "Exit status: 0 if the table was printed; 1 if" in text
    # argparse breaks lines at hyphens too, but no built-in metric has one.
    listed = text.partition("may be repeated; by default ")[2].partition(", and errors")[0]
    side = {
        MeasurementId(TEST, "", MACHINE): make_accepted({name: estimate(0.5) for name in METRICS})
    }
    (measurement,) = compare_sides(side, side).measurements
    compared = {row.metric for row in measurement.rows} - {"errors"}
    assert sorted(listed.split(", ")) == sorted(compared)


@pytest.mark.parametrize("end", ["value", "low", "high"])
@pytest.mark.parametrize("damage", [None, "x", True, [1]])
def test_a_damaged_end_of_an_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str, damage: object
) -> None:
    """The message names the file and the place in it."""
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    for path in paths:
        _write_report(path, 1000)
    content = json.loads(paths[1].read_text())
    content["measurements"][0]["metrics"]["p50"][end] = damage
    paths[1].write_text(json.dumps(content))

    assert main(["compare", *map(str, paths)]) == 2

    err = " ".join(capsys.readouterr().err.split())
    assert f"{paths[1]} is damaged: measurements[0].metrics.p50.{end}: " in err


@pytest.mark.parametrize("rough", [0.05, math.inf])
def test_an_open_percentile_has_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rough: float
) -> None:
    """From a file as from the history, in which it is kept."""
    open_ = {"throughput": estimate(1000.0), "p99": Estimate(0.01, 0.009, rough)}
    measured = make_measurement(open_, unbounded={"p99": "10,000 requests"})
    record = dataclasses.replace(
        make_record(make_judgement(), measurement=measured), environment=ENVIRONMENT
    )
    path = tmp_path / "b.json"
    content = report_to_json([record], MACHINE.to_json(), ENVIRONMENT.to_json(), "abc")
    path.write_text(json.dumps(content))
    project = HistoryProject(tmp_path)
    known = {"throughput": estimate(1000.0), "p99": estimate(0.01)}
    test = measured.test
    project.keep([make_entry(known, run=make_run(1, "a" * 40, "main"), test=test)])
    entry = entry_of(record, make_run(2, "b" * 40, "short"))
    assert entry is not None
    project.keep([entry])

    for candidate in (str(path), "short"):
        (measurement,) = _json(project, capsys, "main", candidate)["measurements"]
        row = next(row for row in measurement["metrics"] if row["metric"] == "p99")
        assert (row["verdict"], row["candidate"], row["base"]) == ("INCONCLUSIVE", None, 0.01)
        assert "too short to bound it" in row["reason"]
