"""Git: which commit of a stored baseline can be measured again."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.adapters.git import current_revision, reachable

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
