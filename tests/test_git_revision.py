"""Git: which commit of a stored baseline can be measured again."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.git import current_revision, hide_history, reachable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One commit with a file."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@example.org")
    (tmp_path / "a.py").write_text("")
    for command in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)  # noqa: S603, S607 - fixed
    return tmp_path


def test_what_can_be_checked_out(repository: Path) -> None:
    """A commit that is here; none that is not, had changes, is a file, or is an option."""
    commit = current_revision(repository).commit
    tree = subprocess.run(
        ["git", "rev-parse", "HEAD^{tree}"],  # noqa: S607 - the user's git
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()

    assert reachable(repository, commit)
    for other in ("", "0" * 40, commit + "+", tree, "--batch", "HEAD:a.py"):
        assert not reachable(repository, other)


def test_outside_of_a_repository(tmp_path: Path) -> None:
    """There is nothing to be checked out."""
    assert not reachable(tmp_path, "0123456789abcdef")


def detached(repository: Path) -> str:
    """Have no branch checked out, as CI does; returns the commit."""
    subprocess.run(["git", "checkout", "--quiet", "--detach"], cwd=repository, check=True)  # noqa: S607 - the user's git
    return current_revision(repository, {}).commit


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
    """CI checks out commits, and says in variables of what branch."""
    commit = detached(repository)
    told = {name: commit if value == "HEAD" else value for name, value in variables.items()}

    assert current_revision(repository, told).branch == branch


def test_a_branch_that_is_checked_out_is_the_branch(repository: Path) -> None:
    """Variables only fill in for it."""
    commit = current_revision(repository, {}).commit
    told = {"GITHUB_SHA": commit, "GITHUB_REF_NAME": "other"}

    assert current_revision(repository, told).branch != "other"


def test_the_history_is_hidden_from_git(repository: Path) -> None:
    """Its files, and the file that hides them; baselines are seen. Once written it stays."""
    folder = repository / ".dlperf"
    hide_history(folder)
    for name in ("history.sqlite", "history.sqlite-wal", "history.sqlite-shm"):
        (folder / name).touch()
    (folder / "baselines").mkdir()
    (folder / "baselines" / "a.json").touch()

    listed = subprocess.run(
        ["git", "status", "--porcelain", "-uall"],  # noqa: S607 - the user's git
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert listed == ["?? .dlperf/baselines/a.json"]

    (folder / ".gitignore").write_text("mine")
    hide_history(folder)
    assert (folder / ".gitignore").read_text() == "mine"


def test_where_nothing_can_be_written_nothing_is_hidden(tmp_path: Path) -> None:
    """Whoever opens the history then says what is wrong."""
    (tmp_path / ".dlperf").touch()

    hide_history(tmp_path / ".dlperf")

    assert (tmp_path / ".dlperf").read_bytes() == b""
