"""Recording of runs in the history, and baselines from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from duel_projects import Project, text
from git_repositories import git

from pytest_dlperf.errors import HistoryError
from pytest_dlperf.history.entries import Entry, Query
from pytest_dlperf.history.store import History, open_history
from pytest_dlperf.history.url import default_url
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONE = """
@pytest.mark.dlperf("throughput >= 1/s", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
"""

TWO = """
@pytest.mark.dlperf("throughput >= 1/s", **SHORT)
@pytest.mark.parametrize("n", [1, 2])
def test_it(dlperf, n):
    dlperf(identity, DATA, name="small")
    dlperf(identity, DATA, name="large")
"""

SECRET = "geheim"  # noqa: S105 - made up
NOBODY = f"postgresql://u:{SECRET}@127.0.0.1:1/d"
"""A server that does not exist."""


def entries(folder: Path) -> tuple[Entry, ...]:
    """All entries of a project's history, newest first."""
    history = open_history(default_url(folder))
    try:
        return history.entries(Query())
    finally:
        history.close()


def test_every_run_is_recorded(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
) -> None:
    """Each measurement of each run, with its metrics and verdict."""
    run(TWO).assert_outcomes(passed=2)
    again("-k", "1").assert_outcomes(passed=1, deselected=1)

    recorded = entries(pytester.path)

    assert [(entry.test, entry.name) for entry in recorded] == [
        (f"test_module.py::test_it[{n}]", name) for n in (1, 2, 1) for name in ("large", "small")
    ]
    assert len({entry.run.key for entry in recorded}) == 2
    assert {entry.verdict for entry in recorded} == {Verdict.PASS}
    assert all(entry.result.metrics["throughput"].value > 0 for entry in recorded)
    assert not any(entry.renews for entry in recorded)


def test_a_failed_test_is_recorded(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """A measurement that breaks a budget is recorded as FAIL."""
    run(ONE.replace(">= 1/s", ">= 1000000000/s")).assert_outcomes(failed=1)

    (entry,) = entries(pytester.path)
    assert entry.verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "options", [["--dlperf-history=none"], ["--dlperf-quick"], ["--collect-only"]]
)
def test_nothing_is_recorded(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester, options: list[str]
) -> None:
    """If it is turned off, of smoke runs and of collecting; no folder is created."""
    assert run(ONE, *options).ret == 0

    assert not (pytester.path / ".dlperf").exists()


def test_a_suite_that_does_not_measure(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """It creates nothing, even with baselines from the history."""
    result = run("def test_it(): pass", "--dlperf-baseline=history:merge-base")

    result.assert_outcomes(passed=1)
    assert not (pytester.path / ".dlperf").exists()


def test_location(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The option takes precedence over the ini file, and that over the environment."""
    folders = {name: pytester.path / name for name in ("variable", "ini", "option")}

    def counts() -> list[int]:
        urls = (folder / ".dlperf" / "history.sqlite" for folder in folders.values())
        return [len(entries(url.parent.parent)) if url.exists() else 0 for url in urls]

    monkeypatch.setenv("DLPERF_HISTORY", default_url(folders["variable"]))
    run(ONE).assert_outcomes(passed=1)
    assert counts() == [1, 0, 0]

    pytester.makeini(f"[pytest]\ndlperf_history = {default_url(folders['ini'])}\n")
    again().assert_outcomes(passed=1)
    assert counts() == [1, 1, 0]

    again(f"--dlperf-history={default_url(folders['option'])}").assert_outcomes(passed=1)
    assert counts() == [1, 1, 1]
    assert not (pytester.path / ".dlperf").exists()


@pytest.mark.parametrize("where", ["option", "ini", "variable"])
def test_no_url(
    run: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """It is refused before anything runs, and not shown, since it may hold a password."""
    options = []
    match where:
        case "option":
            options = [f"--dlperf-history=u:{SECRET}@host/db"]
        case "ini":
            pytester.makeini(f"[pytest]\ndlperf_history = u:{SECRET}@host/db\n")
        case _:
            monkeypatch.setenv("DLPERF_HISTORY", f"u:{SECRET}@host/db")

    result = run(ONE, *options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "that is no URL of a database" in text(result)
    assert SECRET not in text(result)


@pytest.mark.parametrize("where", ["option", "variable"])
def test_a_named_history_must_work(
    run: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """Or nothing is measured: the error comes once, at the start, without the password."""
    options = [f"--dlperf-history={NOBODY}"] if where == "option" else []
    if where == "variable":
        monkeypatch.setenv("DLPERF_HISTORY", NOBODY)

    result = run(TWO, *options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "test_it" not in text(result)
    assert text(result).count("history postgresql://u:***@127.0.0.1:1/d") == 1
    assert "Connection refused" in text(result)
    assert SECRET not in text(result)
    run(TWO, "--dlperf-quick", *options).assert_outcomes(passed=2)


def test_a_named_history_that_fails_later(
    run: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was measured and judged stays so; what was not recorded is said once."""

    def gone(*_: object) -> None:
        raise HistoryError("there", "it is away", "wait")

    monkeypatch.setattr(History, "add", gone)

    result = run(TWO, f"--dlperf-history={default_url(pytester.path)}")

    result.assert_outcomes(passed=2)
    assert result.ret == 0
    assert text(result).count("it is away") == 1
    assert "4 measurements not recorded; --dlperf-history=none records nothing" in text(result)


def test_the_default_file_may_fail(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """A checkout that cannot be written to is a warning."""
    (pytester.path / ".dlperf" / "history.sqlite").mkdir(parents=True)

    result = run(ONE)

    assert result.ret == 0
    assert "history.sqlite" in text(result)
    assert "1 measurement not recorded" in text(result)
    assert all(len(line) <= 80 for line in result.outlines if "not recorded" in line)


def test_entries_are_retried_at_the_end(
    run: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A database that was down for a while misses nothing."""
    add, away = History.add, [True]

    def sometimes(history: History, entry: Entry) -> None:
        if away.pop() if away else False:
            raise HistoryError("there", "it is away", "wait")
        add(history, entry)

    monkeypatch.setattr(History, "add", sometimes)

    result = run(TWO, f"--dlperf-history={default_url(pytester.path)}")

    assert result.ret == 0
    assert "it is away" not in text(result)
    assert len(entries(pytester.path)) == 4


@pytest.mark.subprocess
def test_one_worker_records_once(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """Under pytest-xdist only the controller records."""
    run(TWO, "-p", "xdist", "-n1").assert_outcomes(passed=2)

    recorded = entries(pytester.path)
    assert len(recorded) == 4
    assert len({entry.run.key for entry in recorded}) == 1


def test_git_ignores_the_file(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """The repository has the baselines, but not the database."""
    git(pytester.path, "init", "--quiet")
    run(ONE, "--dlperf-update=new").assert_outcomes(passed=1)

    listed = git(pytester.path, "status", "--porcelain", "-uall").splitlines()

    ours = [line for line in listed if ".dlperf" in line]
    assert len(ours) == 1
    assert ".dlperf/baselines/" in ours[0]
    assert (pytester.path / ".dlperf" / "history.sqlite").exists()


def test_an_existing_gitignore(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """A user's file is not changed."""
    file = pytester.path / ".dlperf" / ".gitignore"
    file.parent.mkdir()
    file.write_text("mine\n")

    run(ONE).assert_outcomes(passed=1)

    assert file.read_text() == "mine\n"


@pytest.mark.subprocess
def test_a_duel_is_not_recorded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by its workers nor by its controller."""
    project = Project(pytester, monkeypatch)
    project.tests("""
@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_it(dlperf):
    dlperf(model.infer, DATA)
""")
    project.commit()

    project.duel().assert_outcomes(passed=1)

    assert not (project.top / ".dlperf").exists()


HELD = """
import os

def work(batch):
    spend(100e-6 * int(os.environ.get("WORK", "1")))
    return batch.copy()

@pytest.mark.dlperf("throughput >= 0.5 * baseline", scenario=ClosedLoop(clients=8),
                    duration="0.4s")
def test_it(dlperf):
    dlperf(work, DATA)
"""


class Recorded:
    """A repository whose tests are compared with its history."""

    def __init__(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        self._monkeypatch = monkeypatch
        project.tests(HELD)
        project.commit()

    def run(self, *options: str, work: int = 1) -> tuple[pytest.RunResult, dict[str, Any]]:
        """Run the test; returns the judgement of its budget too."""
        self._monkeypatch.setenv("WORK", str(work))
        file = self.project.temporary / "out.json"
        result = self.project.plain(f"--dlperf-json={file}", *options)
        (measurement,) = json.loads(file.read_text())["measurements"]
        (verdict,) = (v for v in measurement["verdicts"] if v["metric"] == "throughput")
        return result, verdict

    def head(self) -> str:
        """The short hash of the current commit."""
        return self.project.git("rev-parse", "HEAD")[:8]


@pytest.fixture
def recorded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """A repository with one commit on main."""
    for name in ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "CI_DEFAULT_BRANCH"):
        monkeypatch.delenv(name, raising=False)
    return Recorded(Project(pytester, monkeypatch), monkeypatch)


@pytest.mark.parametrize("basis", ["history:main", "history:merge-base"])
def test_a_branch_is_compared_with_main(recorded: Recorded, basis: str) -> None:
    """A run on main is recorded; a slower branch fails, and passes after a fix."""
    option = f"--dlperf-baseline={basis}"
    first, verdict = recorded.run(option)
    first.assert_outcomes(passed=1)
    assert verdict["verdict"] == "NEW"
    assert "the history has no session of" in verdict["reason"]
    assert "recorded in the history: the next run is compared with this one" in text(first)
    assert "--dlperf-update" not in text(first)
    base = recorded.head()

    recorded.project.git("switch", "--quiet", "-c", "feature")
    recorded.project.commit()
    slower, verdict = recorded.run(option, work=20)
    slower.assert_outcomes(failed=1)
    assert verdict["verdict"] == "FAIL"
    assert verdict["baseline_revision"].startswith(base)
    assert "baselines: the last sessions" in text(slower)

    # The branch is not compared with its own sessions.
    _, verdict = recorded.run(option)
    assert verdict["baseline_revision"].startswith(base)
    assert not list(recorded.project.top.glob(".dlperf/baselines/**/*.json"))


def test_a_change_is_accepted_on_main(recorded: Recorded) -> None:
    """`all` starts a new baseline with a slower session on main, but not on a branch."""
    option = "--dlperf-baseline=history:main"
    recorded.run(option)
    recorded.project.git("switch", "--quiet", "-c", "feature")
    refused, verdict = recorded.run(option, "--dlperf-update=all", work=20)
    assert (verdict["verdict"], verdict["suspected"]) == ("INCONCLUSIVE", True)
    assert "the code is that of the baseline" in verdict["reason"]
    assert "--dlperf-update changes nothing: baselines are those of branch main" in text(refused)

    recorded.project.git("switch", "--quiet", "main")
    accepted, verdict = recorded.run(option, "--dlperf-update=all", work=20)
    accepted.assert_outcomes(passed=1)
    assert verdict["verdict"] == "NEW"
    assert "baseline replaced" in text(accepted)

    _, verdict = recorded.run(option, work=20)
    assert verdict["verdict"] != "FAIL"
    newest = entries(recorded.project.top)
    assert [entry.renews for entry in newest[:2]] == [False, True]


def test_recording_in_ci_is_always_on(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only baseline files are not updated in CI."""
    monkeypatch.setenv("CI", "true")
    option = "--dlperf-baseline=history:main"

    recorded.run(option)
    guarded, verdict = recorded.run(option, "--dlperf-update=all")

    assert verdict["baseline"] is not None
    assert "not recorded in CI" not in text(guarded)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--dlperf-baseline=history"],
            "expected files, history:BRANCH (history:main) or history:merge-base",
        ),
        (
            ["--dlperf-baseline=history:main", "--dlperf-history=none"],
            "takes baselines from the history, and dlperf-history is none",
        ),
    ],
)
def test_refused_options(
    run: Callable[..., pytest.RunResult], options: list[str], message: str
) -> None:
    """They are an error before anything runs."""
    result = run(ONE, *options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in text(result)


@pytest.mark.parametrize(
    ("options", "code"),
    [([], 4), (["--dlperf-quick"], 0), (["--collect-only"], 0), (["--dlperf-skip"], 5)],
)
def test_an_unknown_branch_point(
    run: Callable[..., pytest.RunResult], options: list[str], code: int
) -> None:
    """It is an error before anything is measured, unless nothing is compared."""
    result = run(ONE, "--dlperf-baseline=history:merge-base", *options)

    assert result.ret == code
    assert ("git finds no commit in" in text(result)) is (code == 4)
    assert "Traceback" not in text(result)


@pytest.mark.subprocess
def test_an_unknown_branch_point_under_xdist(run: Callable[..., pytest.RunResult]) -> None:
    """The tests fail with the message, since a worker that exits prints nothing."""
    result = run(ONE, "-p", "xdist", "-n1", "--dlperf-baseline=history:merge-base")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "git finds no commit in" in text(result)
    assert "source.py" not in text(result)


def test_an_unreadable_history_fails_the_test(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """Without its baseline a test cannot pass; the error has no frame of the plugin."""
    (pytester.path / ".dlperf" / "history.sqlite").mkdir(parents=True)

    result = run(ONE.replace(">= 1/s", ">= 0.5 * baseline"), "--dlperf-baseline=history:main")

    result.assert_outcomes(failed=1)
    output = text(result)
    assert "history.sqlite" in output
    assert "history_recorder.py" not in output
