"""Git: which revision is being measured."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pytest_dlperf.core.baseline import Revision

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS: Final = 10


def current_revision(root: Path) -> Revision:
    """Commit, branch and day; commit and branch are empty outside a repository."""
    commit = _git(root, "rev-parse", "HEAD")
    branch = _git(root, "symbolic-ref", "--short", "-q", "HEAD") if commit else ""
    # Baselines are written during a run; they do not make the measured code another one.
    dirty = commit and _git(root, "status", "--porcelain", "-uno", "--", ".", ":!.dlperf")
    today = datetime.now(tz=UTC).date().isoformat()
    return Revision(f"{commit}+" if dirty else commit, branch, today)


def reachable(root: Path, commit: str) -> bool:
    """Whether a commit is here, so that it can be checked out; code that had changes is none."""
    if not commit.isalnum():
        return False
    return _git(root, "cat-file", "-t", commit) == "commit"


def _git(root: Path, *args: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", *args],  # noqa: S607 - the user's git
            cwd=root,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
