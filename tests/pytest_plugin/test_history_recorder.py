"""The history as a user sees it: every run is kept, and no run is lost for it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from duel_projects import Project, text
from git_repositories import git

from pytest_dlperf.errors import HistoryError
from pytest_dlperf.history.entries import Entry, Query
from pytest_dlperf.history.store import SqlHistory, default_url, open_history
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
"""A server that is not there."""


def entries(folder: Path) -> tuple[Entry, ...]:
    """All that is in a project's history, newest first."""
    history = open_history(default_url(folder))
    try:
        return history.entries(Query())
    finally:
        history.close()


def test_every_run_is_kept(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
) -> None:
    """Each measurement of each run, with what it found and how it was judged."""
    run(TWO).assert_outcomes(passed=2)
    again("-k", "1").assert_outcomes(passed=1, deselected=1)

    found = entries(pytester.path)

    assert [(one.test, one.name) for one in found] == [
        ("test_module.py::test_it[1]", "large"),
        ("test_module.py::test_it[1]", "small"),
        ("test_module.py::test_it[2]", "large"),
        ("test_module.py::test_it[2]", "small"),
        ("test_module.py::test_it[1]", "large"),
        ("test_module.py::test_it[1]", "small"),
    ]
    assert len({one.run.key for one in found}) == 2
    assert {one.verdict for one in found} == {Verdict.PASS}
    assert all(one.found.metrics["throughput"].value > 0 for one in found)
    assert not any(one.renews for one in found)


def test_a_failed_test_is_kept(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """What broke a budget is what people want to look back at."""
    run(ONE.replace(">= 1/s", ">= 1000000000/s")).assert_outcomes(failed=1)

    (found,) = entries(pytester.path)
    assert found.verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "options", [["--dlperf-history=none"], ["--dlperf-quick"], ["--collect-only"]]
)
def test_nothing_is_kept(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester, options: list[str]
) -> None:
    """Where it is turned off, and of what says nothing of speed; not even a folder is made."""
    assert run(ONE, *options).ret == 0

    assert not (pytester.path / ".dlperf").exists()


def test_a_suite_that_does_not_measure(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """It leaves nothing behind, whatever was asked for."""
    result = run("def test_it(): pass", "--dlperf-baseline=history:merge-base")

    result.assert_outcomes(passed=1)
    assert not (pytester.path / ".dlperf").exists()


def test_where_it_is_kept(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The option wins over the ini file, and that over the environment."""
    folders = {name: pytester.path / name for name in ("variable", "ini", "option")}

    def kept() -> list[int]:
        urls = (folder / ".dlperf" / "history.sqlite" for folder in folders.values())
        return [len(entries(url.parent.parent)) if url.exists() else 0 for url in urls]

    monkeypatch.setenv("DLPERF_HISTORY", default_url(folders["variable"]))
    run(ONE).assert_outcomes(passed=1)
    assert kept() == [1, 0, 0]

    pytester.makeini(f"[pytest]\ndlperf_history = {default_url(folders['ini'])}\n")
    again().assert_outcomes(passed=1)
    assert kept() == [1, 1, 0]

    again(f"--dlperf-history={default_url(folders['option'])}").assert_outcomes(passed=1)
    assert kept() == [1, 1, 1]
    assert not (pytester.path / ".dlperf").exists()


@pytest.mark.parametrize("where", ["option", "ini", "variable"])
def test_no_url(
    run: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """It is refused before anything runs, and not shown: it may be half of one, with a password."""
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
def test_a_history_that_was_asked_for_must_work(
    run: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """The results are shown, then once what is wrong, without the password: no success."""
    options = [f"--dlperf-history={NOBODY}"] if where == "option" else []
    if where == "variable":
        monkeypatch.setenv("DLPERF_HISTORY", NOBODY)

    result = run(TWO, *options)

    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.re_match_lines([r"test_it\[1\] \[small\] .*PASS"])
    assert text(result).count("history postgresql://u:***@127.0.0.1:1/d") == 1
    assert "4 measurements not recorded; --dlperf-history=none records nothing" in text(result)
    assert SECRET not in text(result)


def test_the_projects_own_file_may_fail(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """Nobody asked for it: a checkout that cannot be written to is no failure, but it is said."""
    (pytester.path / ".dlperf" / "history.sqlite").mkdir(parents=True)

    result = run(ONE)

    assert result.ret == 0
    assert "history.sqlite" in text(result)
    assert "1 measurement not recorded" in text(result)
    assert all(len(line) <= 80 for line in result.outlines if "not recorded" in line)


def test_what_could_not_be_written_is_written_at_the_end(
    run: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A database that was away for a while misses nothing."""
    add, away = SqlHistory.add, [True]

    def sometimes(history: SqlHistory, entry: Entry) -> None:
        if away.pop() if away else False:
            raise HistoryError("there", "it is away", "wait")
        add(history, entry)

    monkeypatch.setattr(SqlHistory, "add", sometimes)

    result = run(TWO, f"--dlperf-history={default_url(pytester.path)}")

    assert result.ret == 0
    assert "it is away" not in text(result)
    assert len(entries(pytester.path)) == 4


@pytest.mark.subprocess
def test_one_worker_records_once(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """Under pytest-xdist the process that reports records."""
    run(TWO, "-n1").assert_outcomes(passed=2)

    found = entries(pytester.path)
    assert len(found) == 4
    assert len({one.run.key for one in found}) == 1


def test_git_leaves_the_file_alone(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """The database of one machine is not for the repository; the baselines are."""
    git(pytester.path, "init", "--quiet")
    run(ONE, "--dlperf-update=new").assert_outcomes(passed=1)

    listed = git(pytester.path, "status", "--porcelain", "-uall").splitlines()

    ours = [line for line in listed if ".dlperf" in line]
    assert len(ours) == 1
    assert ".dlperf/baselines/" in ours[0]
    assert (pytester.path / ".dlperf" / "history.sqlite").exists()


def test_a_gitignore_that_is_there_stays(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """What a user has written there is theirs."""
    file = pytester.path / ".dlperf" / ".gitignore"
    file.parent.mkdir()
    file.write_text("mine\n")

    run(ONE).assert_outcomes(passed=1)

    assert file.read_text() == "mine\n"


@pytest.mark.subprocess
def test_a_duel_is_not_kept(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures are of slots; neither side nor the process that leads them records."""
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
    """A repository whose tests are compared with its history.

    Args:
        project: where.
        monkeypatch: how slow the code is.
    """

    def __init__(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        self._monkeypatch = monkeypatch
        project.tests(HELD)
        project.commit()

    def run(self, *options: str, work: int = 1) -> tuple[pytest.RunResult, dict[str, Any]]:
        """Run the test; returns what became of its budget too."""
        self._monkeypatch.setenv("WORK", str(work))
        file = self.project.temporary / "out.json"
        result = self.project.plain(f"--dlperf-json={file}", *options)
        (measurement,) = json.loads(file.read_text())["measurements"]
        (verdict,) = (one for one in measurement["verdicts"] if one["metric"] == "throughput")
        return result, verdict

    def head(self) -> str:
        """The first digits of the present commit."""
        return self.project.git("rev-parse", "HEAD")[:8]


@pytest.fixture
def recorded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """A repository with one commit on main; whatever else the machine does decides nothing."""
    for name in ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "CI_DEFAULT_BRANCH"):
        monkeypatch.delenv(name, raising=False)
    return Recorded(Project(pytester, monkeypatch), monkeypatch)


@pytest.mark.parametrize("basis", ["history:main", "history:merge-base"])
def test_a_branch_is_held_against_main(recorded: Recorded, basis: str) -> None:
    """Main records by being run; a branch that is slower than it was fails, a fix passes."""
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

    # What the branch measured is not what it is held against.
    _, verdict = recorded.run(option)
    assert verdict["baseline_revision"].startswith(base)
    assert not list(recorded.project.top.glob(".dlperf/baselines/**/*.json"))


def test_a_change_is_accepted_where_it_counts(recorded: Recorded) -> None:
    """On main `all` makes a slower session the first of a new baseline; on a branch it cannot."""
    option = "--dlperf-baseline=history:main"
    recorded.run(option)
    recorded.project.git("switch", "--quiet", "-c", "feature")
    refused, verdict = recorded.run(option, "--dlperf-update=all", work=20)
    assert verdict["verdict"] == "FAIL"
    assert "--dlperf-update changes nothing: baselines are those of branch main" in text(refused)

    recorded.project.git("switch", "--quiet", "main")
    accepted, verdict = recorded.run(option, "--dlperf-update=all", work=20)
    accepted.assert_outcomes(passed=1)
    assert verdict["verdict"] == "NEW"
    assert "baseline replaced" in text(accepted)

    _, verdict = recorded.run(option, work=20)
    assert verdict["verdict"] != "FAIL"
    newest = entries(recorded.project.top)
    assert [one.renews for one in newest[:2]] == [False, True]


def test_recording_in_ci_is_always_on(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard is for files: the history of a team is made by its CI."""
    monkeypatch.setenv("CI", "true")
    option = "--dlperf-baseline=history:main"

    recorded.run(option)
    guarded, verdict = recorded.run(option, "--dlperf-update=all")

    assert verdict["baseline"] is not None
    assert "not recorded in CI" not in text(guarded)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("history", "expected files, history:BRANCH (history:main) or history:merge-base"),
        ("history:", "expected files, history:BRANCH"),
        ("database", "--dlperf-baseline='database'"),
    ],
)
def test_a_wrong_baseline(
    run: Callable[..., pytest.RunResult], baseline: str, message: str
) -> None:
    """It is refused before anything runs."""
    result = run(ONE, f"--dlperf-baseline={baseline}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in text(result)


def test_baselines_of_no_history(run: Callable[..., pytest.RunResult]) -> None:
    """The two options contradict each other."""
    result = run(ONE, "--dlperf-baseline=history:main", "--dlperf-history=none")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "takes baselines from the history, and dlperf-history is none" in text(result)


@pytest.mark.parametrize(
    ("options", "code"),
    [([], 4), (["--dlperf-quick"], 0), (["--collect-only"], 0), (["--dlperf-skip"], 5)],
)
def test_a_branch_point_that_is_not_known(
    run: Callable[..., pytest.RunResult], options: list[str], code: int
) -> None:
    """It is said before anything is measured; whoever compares nothing needs none."""
    result = run(ONE, "--dlperf-baseline=history:merge-base", *options)

    assert result.ret == code
    assert ("git finds no commit in" in text(result)) is (code == 4)
    assert "Traceback" not in text(result)


@pytest.mark.subprocess
def test_a_shallow_clone(recorded: Recorded, pytester: pytest.Pytester) -> None:
    """The message names what to do in a workflow."""
    recorded.project.commit()
    clone = pytester.path / "clone"
    git(pytester.path, "clone", "--quiet", "--depth=1", f"file://{recorded.project.top}", "clone")

    done = subprocess.run(  # noqa: S603 - our own interpreter
        [*pytester._getpytestargs(), "-p", "dlperf", "--dlperf-baseline=history:merge-base"],  # noqa: SLF001 - pytester's own way of running it
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    said = " ".join((done.stdout + done.stderr).split())
    for way in ("this clone is shallow", "git fetch --unshallow", "fetch-depth: 0", "GIT_DEPTH: 0"):
        assert way in said


@pytest.mark.subprocess
def test_a_worker_says_it_in_its_tests(run: Callable[..., pytest.RunResult]) -> None:
    """Under pytest-xdist the tests fail with the message, since a worker that ends says nothing."""
    result = run(ONE, "-n1", "--dlperf-baseline=history:merge-base")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "git finds no commit in" in text(result)
    assert "source.py" not in text(result)


def test_a_history_that_cannot_be_read_fails_the_test(run: Callable[..., pytest.RunResult]) -> None:
    """Without what it is to be held against, a test cannot pass; no frame of ours is shown."""
    result = run(
        ONE.replace(">= 1/s", ">= 0.5 * baseline"),
        f"--dlperf-history={NOBODY}",
        "--dlperf-baseline=history:main",
    )

    result.assert_outcomes(failed=1)
    said = text(result)
    assert "history postgresql://u:***@127.0.0.1:1/d" in said
    assert "historian.py" not in said
    assert SECRET not in said
