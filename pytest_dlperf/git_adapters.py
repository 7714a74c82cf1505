"""Git: which revision is being measured."""

from __future__ import annotations

import contextlib
import os
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pytest_dlperf.results.baseline import Revision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECONDS: Final = 10

_BRANCHES_IN_CI: Final = (
    ("GITHUB_SHA", "GITHUB_REF_NAME"),
    ("CI_COMMIT_SHA", "CI_COMMIT_BRANCH"),
)
"""Variables of GitHub and GitLab that hold a commit and its branch."""

_OWN_FILES: Final = """\
# Written by pytest-dlperf. What was measured here is of this machine; baselines are for all.
/.gitignore
/history.sqlite*
"""


def current_revision(root: Path, variables: Mapping[str, str] = os.environ) -> Revision:
    """Commit, branch and day; commit and branch are empty outside a repository.

    Args:
        root: of the project.
        variables: environment variables, which in CI tell the branch that a commit was checked out
            from.
    """
    commit = git(root, "rev-parse", "HEAD")
    branch = git(root, "symbolic-ref", "--short", "-q", "HEAD") if commit else ""
    # Baselines are written during a run; they do not make the measured code another one.
    dirty = commit and git(root, "status", "--porcelain", "-uno", "--", ".", ":!.dlperf")
    today = datetime.now(tz=UTC).date().isoformat()
    return Revision(f"{commit}+" if dirty else commit, branch or _in_ci(commit, variables), today)


def _in_ci(commit: str, variables: Mapping[str, str]) -> str:
    """The branch of a commit that CI has checked out without one; empty if it does not say.

    Names that the author of a pull request chooses are not asked for: they could be anything.
    """
    if variables.get("GITHUB_REF_TYPE", "branch") != "branch":
        return ""
    for measured, name in _BRANCHES_IN_CI:
        if commit and variables.get(measured) == commit:
            return variables.get(name, "")
    return ""


def reachable(root: Path, commit: str) -> bool:
    """Whether a commit is here, so that it can be checked out; code that had changes is none."""
    if not commit.isalnum():
        return False
    return git(root, "cat-file", "-t", commit) == "commit"


def hide_history(folder: Path) -> None:
    """Have git leave the history's files alone, in a folder that may not be there yet.

    A file `.gitignore` that is there stays as it is. Nothing is said where none can be written:
    neither can the history be, which says it.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".gitignore").open("x", encoding="utf-8") as file:
            file.write(_OWN_FILES)


def git(root: Path, *args: str) -> str:
    """What git says; empty if it says nothing, fails, or is not installed."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            ["git", *args],  # noqa: S607 - the user's git
            cwd=root,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
