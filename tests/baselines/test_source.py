"""The source of baselines: whose sessions they are, and the messages if there are none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from builders import ENVIRONMENT, MACHINE, estimate, make_accepted, with_session
from git_repositories import git

from pytest_dlperf.baselines.files import FOLDER, BaselineFiles
from pytest_dlperf.baselines.source import (
    BaselineProvider,
    baselines_of_files,
    baselines_of_history,
)
from pytest_dlperf.config.baseline_source import BaselineSource
from pytest_dlperf.errors import HistoryError, UsageError
from pytest_dlperf.git import current_revision
from pytest_dlperf.history.entries import Entry, Run
from pytest_dlperf.history.store import History, open_history
from pytest_dlperf.history.url import default_url
from pytest_dlperf.report.hints import OF_FILES
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_dlperf.results.environment import MachineClass

TEST = "tests/test_model.py::test_fast"
MAIN = BaselineSource(in_history=True, branch="main")
BRANCH_POINT = BaselineSource(in_history=True)
pytestmark = pytest.mark.usefixtures("git_of_nobody")

NOTHING: dict[str, str] = {}


@dataclasses.dataclass
class Project:
    """A repository with a history."""

    root: Path
    history: History
    runs: int = 0

    def commit(self) -> str:
        """Change the code."""
        self.change()
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--message=more")
        return git(self.root, "rev-parse", "HEAD").strip()

    def change(self) -> None:
        """Change the code without committing it."""
        self.runs += 1
        (self.root / "model.py").write_text(f"SIZE = {self.runs}\n")

    def run(self, machine: MachineClass = MACHINE) -> Run:
        """A run of the present code, later than the runs before it."""
        self.runs += 1
        return Run(f"{self.runs:032x}", 1e9 + self.runs, machine, current_revision(self.root, {}))

    def record(self, throughput: float, machine: MachineClass = MACHINE, name: str = "") -> None:
        """Record a measurement of the present code."""
        entry = make_accepted({"throughput": estimate(throughput)}, environment=ENVIRONMENT)
        run = self.run(machine)
        entry = with_session(entry, revision=run.revision)
        self.history.add(Entry(run, TEST, name, Verdict.PASS, entry))

    def provider(
        self, source: BaselineSource, variables: Mapping[str, str] = NOTHING
    ) -> BaselineProvider:
        """The provider of a run of the present code."""
        return baselines_of_history(source, self.run(), lambda: self.history, self.root, variables)

    def sessions(self, source: BaselineSource) -> list[float]:
        """The throughputs of the baseline, the oldest first."""
        stored = self.provider(source).store.load(TEST)
        if stored is None:
            return []
        sessions = stored.accepted[""].sessions
        return [session.metrics["throughput"].value for session in sessions]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A repository with one commit on main, and an empty history."""
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    history = open_history(default_url(tmp_path))
    project = Project(root, history)
    project.commit()
    yield project
    history.close()


def test_the_last_sessions_of_a_branch(project: Project) -> None:
    """From any branch; the sessions of other branches are not used."""
    project.record(100)
    project.commit()
    project.record(101)
    git(project.root, "switch", "--quiet", "-c", "feature")
    project.commit()
    project.record(50)

    assert project.sessions(MAIN) == [100, 101]
    assert project.sessions(BaselineSource(in_history=True, branch="feature")) == [50]
    assert project.sessions(BaselineSource(in_history=True, branch="other")) == []


def test_the_nearest_commits_before_the_branch_point(project: Project) -> None:
    """Later commits of main are not used; the branch point's sessions are the newest."""
    project.record(100)
    project.commit()
    project.record(101)
    git(project.root, "branch", "feature")
    project.commit()
    project.record(102)
    git(project.root, "switch", "--quiet", "feature")
    project.commit()
    project.record(50)

    assert project.sessions(BRANCH_POINT) == [100, 101]
    assert project.sessions(MAIN) == [100, 101, 102]


def test_a_repeated_run_on_the_default_branch(project: Project) -> None:
    """It is compared with the commit's own earlier sessions, and so is work in progress."""
    project.record(100)
    assert project.sessions(BRANCH_POINT) == [100]
    head = git(project.root, "rev-parse", "HEAD")[:8]
    heading = project.provider(BRANCH_POINT).heading
    assert heading == f"baselines: the last sessions of {head}, the present commit"

    project.change()
    project.record(50)

    assert project.sessions(BRANCH_POINT) == [100]


def test_a_detached_checkout(project: Project) -> None:
    """As CI has it: only a commit, and the target's name in a variable."""
    project.record(100)
    git(project.root, "switch", "--quiet", "-c", "feature")
    head = project.commit()
    git(project.root, "checkout", "--quiet", "--detach", head)

    assert project.sessions(BRANCH_POINT) == [100]
    provider = project.provider(BRANCH_POINT, {"GITHUB_BASE_REF": "main"})
    assert provider.store.load(TEST) is not None


def test_an_unknown_branch_point(project: Project) -> None:
    """It is an error when the provider is made, before anything is measured."""
    git(project.root, "branch", "--quiet", "-m", "main", "trunk")

    with pytest.raises(UsageError, match="does not know the default branch"):
        project.provider(BRANCH_POINT)
    assert project.provider(MAIN).store.load(TEST) is None  # a branch needs no git


def test_messages_on_a_branch(project: Project) -> None:
    """They say what was looked for and where to record it; the run accepts nothing."""
    base = project.commit()
    git(project.root, "switch", "--quiet", "-c", "feature")
    project.commit()

    point, branch = project.provider(BRANCH_POINT), project.provider(MAIN)

    assert point.missing(TEST, "") == (
        f"the history has no session of {base[:8]}, where this left main, nor of the 1 commit "
        f"before it on this machine class ({MACHINE.slug})"
    )
    assert branch.missing(TEST, "") == (
        f"the history has no session of branch main on this machine class ({MACHINE.slug})"
    )
    for provider in (point, branch):
        assert provider.advice.record == "run it on branch main with the same --dlperf-history"
        assert not provider.advice.ratchets
        assert "--dlperf-update changes nothing" in provider.guard
    assert (point.source, branch.source) == ("history:merge-base", "history:main")


@pytest.mark.parametrize("source", [MAIN, BRANCH_POINT])
def test_messages_where_sessions_count(project: Project, source: BaselineSource) -> None:
    """On the branch itself a run adds a session for the next run, and may accept changes."""
    provider = project.provider(source)

    assert provider.guard == ""
    assert (
        provider.advice.record == "recorded in the history: the next run is compared with this one"
    )
    assert provider.advice.ratchets

    project.change()
    provider = project.provider(source)
    assert "code with uncommitted changes is no baseline" in provider.guard
    assert not provider.advice.ratchets


def test_a_shallow_clone_may_be_why_there_is_nothing(project: Project, tmp_path: Path) -> None:
    """The clone lacks commits that may have sessions."""
    project.record(100)
    for _ in range(3):
        project.commit()
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{project.root}", str(clone))

    shallow = Project(clone, project.history, project.runs)

    assert "this clone is shallow" in shallow.provider(BRANCH_POINT).missing(TEST, "")
    git(clone, "fetch", "--quiet", "--unshallow")
    assert shallow.sessions(BRANCH_POINT) == [100]


BIGGER = dataclasses.replace(MACHINE, memory=32, driver="560.1")
OTHER = dataclasses.replace(MACHINE, cpu="Other CPU", cores=8)


def test_another_machine_class_in_the_history(project: Project) -> None:
    """The nearest class with this measurement is named by what differs."""
    project.record(100, OTHER)
    project.record(100, BIGGER)
    project.record(100, MACHINE, "another")

    missing = project.provider(MAIN).missing

    assert missing(TEST, "").endswith(
        "; there is one for another: memory 32 -> 16 GiB, driver 560.1 -> none"
    )
    assert "for another" not in missing(TEST, "unheard of")
    assert "for another" not in missing("tests/test_model.py::test_new", "")


def test_another_machine_class_in_files(tmp_path: Path) -> None:
    """The same for files; unreadable ones are skipped."""
    for machine in (OTHER, BIGGER):
        BaselineFiles(tmp_path / FOLDER, machine).save(f"{TEST}[a-b]", "", make_accepted())
    provider = baselines_of_files(tmp_path, MACHINE, "not here")

    assert provider.missing(f"{TEST}[a-b]", "") == (
        f"no baseline yet on this machine class ({MACHINE.slug}); "
        "there is one for another: memory 32 -> 16 GiB, driver 560.1 -> none"
    )
    assert provider.missing(TEST, "") == f"no baseline yet on this machine class ({MACHINE.slug})"
    assert "for another" not in provider.missing(f"{TEST}[a-b]", "another name")
    assert (provider.guard, provider.advice) == ("not here", OF_FILES)
    assert (provider.source, provider.heading) == ("", "")

    BaselineFiles(tmp_path / FOLDER, BIGGER).path(f"{TEST}[a-b]").write_text("[1")
    assert "cpu Other CPU -> Test CPU @ 2.4GHz, cores 8 -> 4" in provider.missing(
        f"{TEST}[a-b]", ""
    )


def test_this_machine_is_no_other_one(tmp_path: Path) -> None:
    """Another measurement of the test on this class is not suggested."""
    BaselineFiles(tmp_path / FOLDER, MACHINE).save(TEST, "one", make_accepted())

    assert "for another" not in baselines_of_files(tmp_path, MACHINE, "").missing(TEST, "two")
    assert "for another" not in baselines_of_files(tmp_path, MACHINE, "").missing(TEST, "one")


def test_a_history_that_cannot_be_used_is_an_error_of_the_test(project: Project) -> None:
    """It is opened when a baseline is loaded, which raises its error."""

    def refuse() -> History:
        raise HistoryError("there", "it is closed", "open it")

    provider = baselines_of_history(MAIN, project.run(), refuse, project.root, NOTHING)

    with pytest.raises(HistoryError, match="it is closed"):
        provider.store.load(TEST)


def test_what_is_accepted_is_kept_by_the_run(project: Project) -> None:
    """The record of a run says whether it was accepted; nothing is written twice."""
    store = project.provider(MAIN).store
    store.save(TEST, "", make_accepted())

    assert store.load(TEST) is None
