"""The branch point, the revision of the code, and which commits can be checked out."""

from __future__ import annotations

import itertools
import subprocess
from typing import TYPE_CHECKING

import pytest
from git_repositories import git

from pytest_dlperf.errors import UsageError
from pytest_dlperf.git import (
    MOST_COMMITS,
    ancestry,
    current_revision,
    hide_history,
    in_repository,
    reachable,
    why_no_commit,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("git_of_nobody")

NOTHING: dict[str, str] = {}
NUMBERS = itertools.count()


def commit(folder: Path, count: int = 1) -> list[str]:
    """Commits without content; returns all of the branch, newest first."""
    for _ in range(count):
        # With other words each: two commits that are the same in all have the same hash.
        git(folder, "commit", "--quiet", "--allow-empty", f"--message={next(NUMBERS)}")
    return git(folder, "rev-list", "--first-parent", "HEAD").split()


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A repository with a branch main of four commits."""
    folder = tmp_path / "server"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, 4)
    return folder


def cloned(server: Path, *options: str) -> Path:
    """A clone of the server, next to it."""
    folder = server.parent / "clone"
    git(server.parent, "clone", "--quiet", *options, f"file://{server}", str(folder))
    return folder


def test_why_git_tells_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In git's own words, with the remedy."""
    assert why_no_commit(tmp_path) == f"{tmp_path} is in no git repository"
    assert not in_repository(tmp_path)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    folder = tmp_path / "inner"
    folder.mkdir()
    assert in_repository(folder)
    assert why_no_commit(folder) == "the repository has no commit yet"
    commit(tmp_path)

    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert not current_revision(folder, NOTHING).commit
    first, *_, last = why_no_commit(folder).splitlines()
    assert first.startswith(f"detected dubious ownership in repository at '{tmp_path}")
    assert last == f"  git config --global --add safe.directory {tmp_path}"
    with pytest.raises(UsageError, match="dubious ownership"):
        ancestry(folder, NOTHING)

    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_no_commit(folder) == "git is not installed"


def test_changes_that_git_cannot_look_for(server: Path) -> None:
    """Code of which nobody knows whether it was changed is not taken for the commit's."""
    (head, *_) = commit(server)
    assert current_revision(server, NOTHING).commit == head
    index = server / ".git/index"
    index.write_bytes(b"damaged")

    assert current_revision(server, NOTHING).commit == f"{head}+"


def test_a_branch_leaves_at_its_branch_point(server: Path) -> None:
    """The nearest ancestor comes first; what main did since, and the branch itself, are not in."""
    base = commit(server)
    clone = cloned(server)
    commit(server, 2)
    git(clone, "fetch", "--quiet")
    git(clone, "switch", "--quiet", "-c", "feature")
    commit(clone, 3)

    origin = ancestry(clone, NOTHING)

    assert list(origin.commits) == base
    assert origin.point == base[0]
    assert (origin.branch, origin.ahead, origin.cut) == ("origin/main", True, False)


def test_on_the_default_branch_the_present_commit_is_the_point(server: Path) -> None:
    """With a remote and without one; whether or not files were changed is the run's to know."""
    for folder, branch in ((server, "main"), (cloned(server), "origin/main")):
        origin = ancestry(folder, NOTHING)
        assert list(origin.commits) == commit(folder, 0)
        assert (origin.branch, origin.ahead) == (branch, False)


def test_commits_that_were_not_pushed_are_ahead(server: Path) -> None:
    """The server's branch decides, not the local one of the same name."""
    clone = cloned(server)
    base = commit(clone, 0)
    commit(clone, 2)

    origin = ancestry(clone, NOTHING)

    assert (list(origin.commits), origin.ahead) == (base, True)


def test_detached_as_ci_checks_out(server: Path) -> None:
    """No branch is checked out, only a commit."""
    base = commit(server, 0)
    git(server, "switch", "--quiet", "-c", "feature")
    commit(server)
    clone = cloned(server)
    git(clone, "checkout", "--quiet", "--detach", "origin/feature")
    git(clone, "branch", "--quiet", "-D", "feature")
    git(clone, "remote", "set-head", "origin", "main")

    assert list(ancestry(clone, NOTHING).commits) == base


def test_only_the_first_parents_of_a_merge(server: Path) -> None:
    """Commits that a merge brought are left out, as sessions measure the merge."""
    before = commit(server, 0)
    git(server, "switch", "--quiet", "-c", "side")
    side = commit(server, 2)
    git(server, "switch", "--quiet", "main")
    git(server, "merge", "--quiet", "--no-ff", "--no-edit", "side")

    origin = ancestry(server, NOTHING)

    assert list(origin.commits[1:]) == before
    assert not {*side[:2]} & {*origin.commits}


@pytest.mark.parametrize("name", ["master", "trunk"])
def test_the_name_of_the_default_branch(server: Path, name: str) -> None:
    """What origin/HEAD says; without it main or master, or the name that GitLab gives."""
    git(server, "branch", "--quiet", "-m", "main", name)
    clone = cloned(server)
    assert ancestry(clone, NOTHING).branch == f"origin/{name}"

    git(clone, "remote", "set-head", "origin", "--delete")
    if name == "trunk":
        with pytest.raises(UsageError, match="does not know the default branch") as caught:
            ancestry(clone, NOTHING)
        assert "git remote set-head origin --auto" in caught.value.hint
    assert ancestry(clone, {"CI_DEFAULT_BRANCH": name}).branch == f"origin/{name}"


@pytest.mark.parametrize("variable", ["GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"])
def test_a_request_is_compared_with_its_target(server: Path, variable: str) -> None:
    """CI names the branch to be merged into; it need not be the default one."""
    git(server, "switch", "--quiet", "-c", "release")
    release = commit(server, 2)
    git(server, "switch", "--quiet", "-c", "feature")
    commit(server)
    clone = cloned(server)

    origin = ancestry(clone, {variable: "release"})
    assert (origin.branch, list(origin.commits)) == ("origin/release", release)
    assert ancestry(clone, {variable: ""}).branch == "origin/feature"  # checked out on the server

    with pytest.raises(UsageError, match="the branch gone, which this is to be merged") as caught:
        ancestry(clone, {variable: "gone"})
    assert "git fetch origin gone:refs/remotes/origin/gone" in caught.value.hint
    assert "fetch-depth: 0" in caught.value.hint


def test_a_local_target_will_do(server: Path) -> None:
    """A clone whose remote has another name still has its branches."""
    git(server, "switch", "--quiet", "-c", "feature")

    assert ancestry(server, {"GITHUB_BASE_REF": "main"}).branch == "main"


@pytest.mark.parametrize("feature", [True, False])
def test_a_clone_that_is_too_shallow(server: Path, *, feature: bool) -> None:
    """A clone without ancestors is an error that says what to do."""
    if feature:
        git(server, "switch", "--quiet", "-c", "feature")
        commit(server, 2)
    clone = cloned(server, "--depth=1", "--no-single-branch")
    git(clone, "remote", "set-head", "origin", "main")

    with pytest.raises(UsageError, match="this clone is shallow") as caught:
        ancestry(clone, NOTHING)

    for way in ("git fetch --unshallow", "fetch-depth: 0", "GIT_DEPTH: 0"):
        assert way in caught.value.hint
    git(clone, "fetch", "--quiet", "--unshallow")
    assert not ancestry(clone, NOTHING).cut


def test_a_shallow_clone_that_has_some_ancestors(server: Path) -> None:
    """The ancestors that are there are used, and `cut` is set."""
    all_of_them = commit(server, 0)

    origin = ancestry(cloned(server, "--depth=3"), NOTHING)

    assert (list(origin.commits), origin.cut) == (all_of_them[:3], True)


def test_the_first_commit_of_all_is_no_shallow_clone(tmp_path: Path) -> None:
    """A repository of one commit has no ancestors, and lacks none."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    only = commit(tmp_path)

    origin = ancestry(tmp_path, NOTHING)

    assert (list(origin.commits), origin.cut) == (only, False)


def test_not_all_of_a_long_history(tmp_path: Path) -> None:
    """No more commits than a database is asked for at once."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    fast = "".join(
        "commit refs/heads/main\ncommitter n <e@e> 1700000000 +0000\ndata 1\nm\n"
        for _ in range(MOST_COMMITS + 5)
    )
    (tmp_path / "stream").write_text(fast)
    with (tmp_path / "stream").open() as stream:
        subprocess.run(
            ["git", "fast-import", "--quiet"],  # noqa: S607 - the git that is there
            cwd=tmp_path,
            stdin=stream,
            check=True,
        )

    origin = ancestry(tmp_path, NOTHING)

    assert (len(origin.commits), origin.cut) == (MOST_COMMITS, False)


def test_nothing_in_common(server: Path) -> None:
    """A branch with a history of its own has no branch point."""
    git(server, "switch", "--quiet", "--orphan", "alone")
    commit(server)

    with pytest.raises(UsageError, match="have no commit in common") as caught:
        ancestry(server, NOTHING)
    assert "history:BRANCH" in caught.value.hint


@pytest.mark.parametrize("empty", [True, False])
def test_no_commit_at_all(tmp_path: Path, *, empty: bool) -> None:
    """Outside of a repository, and in one without a commit."""
    if empty:
        git(tmp_path, "init", "--quiet")

    with pytest.raises(UsageError, match="git finds no commit in") as caught:
        ancestry(tmp_path, NOTHING)
    assert "--dlperf-baseline=files" in caught.value.hint


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit with a file."""
    (tmp_path / "a.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_what_can_be_checked_out(repository: Path) -> None:
    """A commit that is here; none that is not, had changes, is a file, or is an option."""
    commit = current_revision(repository).commit
    tree = git(repository, "rev-parse", "HEAD^{tree}").strip()

    assert reachable(repository, commit)
    for other in ("", "0" * 40, commit + "+", tree, "--batch", "HEAD:a.py"):
        assert not reachable(repository, other)
    assert not reachable(repository.parent, commit)  # outside of the repository


@pytest.mark.parametrize(
    ("variables", "branch"),
    [
        ({}, ""),
        ({"GITHUB_SHA": "HEAD", "GITHUB_REF_NAME": "main"}, "main"),
        (
            {"GITHUB_SHA": "HEAD", "GITHUB_REF_NAME": "7/merge", "GITHUB_REF_TYPE": "branch"},
            "7/merge",
        ),
        ({"GITHUB_SHA": "HEAD", "GITHUB_REF_NAME": "v1.0", "GITHUB_REF_TYPE": "tag"}, ""),
        ({"CI_COMMIT_SHA": "HEAD", "CI_COMMIT_BRANCH": "main"}, "main"),
        # Another commit than CI started for has been checked out.
        ({"GITHUB_SHA": "other", "GITHUB_REF_NAME": "main"}, ""),
        ({"CI_COMMIT_SHA": "other", "CI_COMMIT_BRANCH": "main"}, ""),
        # What the author of a merge request calls its branch may be anything.
        ({"CI_COMMIT_SHA": "HEAD", "CI_COMMIT_REF_NAME": "main"}, ""),
        ({"GITHUB_SHA": "HEAD", "GITHUB_HEAD_REF": "main"}, ""),
    ],
)
def test_the_branch_of_a_detached_checkout(
    repository: Path, variables: dict[str, str], branch: str
) -> None:
    """CI checks out a commit without a branch, and names the branch in variables."""
    git(repository, "checkout", "--quiet", "--detach")
    commit = current_revision(repository, {}).commit
    in_ci = {name: commit if value == "HEAD" else value for name, value in variables.items()}

    assert current_revision(repository, in_ci).branch == branch


def test_a_branch_that_is_checked_out_is_the_branch(repository: Path) -> None:
    """Variables only fill in for it."""
    commit = current_revision(repository, {}).commit
    in_ci = {"GITHUB_SHA": commit, "GITHUB_REF_NAME": "other"}

    assert current_revision(repository, in_ci).branch != "other"


def test_the_history_is_hidden_from_git(repository: Path) -> None:
    """Git ignores the files of the history, but not baselines; an existing file stays."""
    folder = repository / ".dlperf"
    hide_history(folder)
    for name in ("history.sqlite", "history.sqlite-wal", "history.sqlite-shm"):
        (folder / name).touch()
    (folder / "baselines").mkdir()
    (folder / "baselines" / "a.json").touch()

    listed = git(repository, "status", "--porcelain", "-uall").splitlines()
    assert listed == ["?? .dlperf/baselines/a.json"]

    (folder / ".gitignore").write_text("mine")
    hide_history(folder)
    assert (folder / ".gitignore").read_text() == "mine"


def test_where_nothing_can_be_written_nothing_is_hidden(tmp_path: Path) -> None:
    """A folder that cannot be made is left to the error of opening the history."""
    (tmp_path / ".dlperf").touch()

    hide_history(tmp_path / ".dlperf")

    assert (tmp_path / ".dlperf").read_bytes() == b""
