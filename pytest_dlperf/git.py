"""What git knows of the project: the branch point, the revision, and available commits."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import UsageError
from pytest_dlperf.report.hints import COMPARE_WITH_BRANCH, COMPARE_WITH_FILES
from pytest_dlperf.results.baseline_session import Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import IO


MOST_COMMITS: Final = 500
"""The most commits to list before the branch point."""

_DEEPEN: Final = (
    "fetch all of it: git fetch --unshallow; for GitHub's actions/checkout set fetch-depth: 0, "
    "for GitLab GIT_DEPTH: 0"
)
_TARGETS: Final = ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
"""Variables of GitHub and GitLab that name the target branch of a pull or merge request."""

_DEFAULT: Final = "CI_DEFAULT_BRANCH"
"""GitLab's variable that names the default branch."""

_NAMES: Final = ("main", "master")
_COMMIT: Final = "^{commit}"
_SECONDS: Final = 10  # timeout of a git command
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


@dataclass(frozen=True, slots=True)
class Ancestry:
    """The branch point of HEAD, and the commits before it.

    Attributes:
        branch: the target branch or the default branch, such as `origin/main`.
        commits: full hashes: the branch point, which may be HEAD, then its first parents, in order.
        ahead: whether HEAD differs from the branch point.
        cut: whether the clone is shallow, so that earlier commits are missing.
    """

    branch: str
    commits: tuple[str, ...]
    ahead: bool
    cut: bool

    @property
    def point(self) -> str:
        """The branch point."""
        return self.commits[0]


def ancestry(root: Path, variables: Mapping[str, str]) -> Ancestry:
    """The branch point of HEAD and the branch that it is to be merged into.

    CI names that branch in environment variables.

    Raises:
        UsageError: if it cannot be determined; the hint says what to do.
    """
    head = git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if not head:
        raise UsageError(
            f"git finds no commit in {root}, so there is no branch point: {why_no_commit(root)}",
            COMPARE_WITH_FILES,
        )
    shallow = git(root, "rev-parse", "--is-shallow-repository") == "true"
    ref = _target(root, variables) or _default(root, variables)
    branch = ref.removeprefix("refs/remotes/").removeprefix("refs/heads/")
    point = git(root, "merge-base", head, ref)
    if not point and shallow:
        problem = f"this clone is shallow: it has no commit that both HEAD and {branch} came from"
        raise UsageError(problem, _DEEPEN)
    if not point:
        raise UsageError(
            f"HEAD ({head[:8]}) and {branch} have no commit in common",
            COMPARE_WITH_BRANCH,
        )
    listed = git(root, "rev-list", "--first-parent", f"--max-count={MOST_COMMITS}", point).split()
    cut = shallow and len(listed) < MOST_COMMITS
    if cut and len(listed) == 1:
        problem = f"this clone is shallow: of {branch} it has {point[:8]} and no commit before it"
        raise UsageError(problem, _DEEPEN)
    return Ancestry(branch, tuple(listed), ahead=point != head, cut=cut)


def _target(root: Path, variables: Mapping[str, str]) -> str:
    """Full reference of the target branch that CI names; empty if it names none."""
    named = next((name for variable in _TARGETS if (name := variables.get(variable))), "")
    ref = _first_here(root, _places(named)) if named else ""
    if named and not ref:
        there = shlex.quote(f"{named}:refs/remotes/origin/{named}")
        raise UsageError(
            f"the branch {named}, which this is to be merged into, is not in this clone",
            f"git fetch origin {there}; in a shallow clone {_DEEPEN}",
        )
    return ref


def _default(root: Path, variables: Mapping[str, str]) -> str:
    """Full reference of the default branch."""
    origin_head = git(root, "symbolic-ref", "--quiet", "refs/remotes/origin/HEAD")
    in_ci = variables.get(_DEFAULT, "")
    remote, local = zip(*map(_places, filter(None, (in_ci, *_NAMES))), strict=True)
    ref = _first_here(root, (origin_head, *remote, *local))
    if not ref:
        raise UsageError(
            "git does not know the default branch: there is no origin/HEAD, origin/main, "
            "origin/master, main or master",
            "git remote set-head origin --auto sets it; in a shallow clone " + _DEEPEN,
        )
    return ref


def _places(name: str) -> tuple[str, str]:
    return f"refs/remotes/origin/{name}", f"refs/heads/{name}"


def _first_here(root: Path, refs: Iterable[str]) -> str:
    """The first reference that names a commit of this clone; empty if none does."""
    here = (ref for ref in refs if ref and git(root, "rev-parse", "-q", "--verify", ref + _COMMIT))
    return next(here, "")


def current_revision(root: Path, variables: Mapping[str, str] = os.environ) -> Revision:
    """Commit, branch and date; commit and branch are empty outside a repository.

    CI names the branch of a detached HEAD in variables. Changes that git cannot look for, as when
    that takes too long, are taken to be there.
    """
    commit = git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    branch = git(root, "symbolic-ref", "--short", "-q", "HEAD") if commit else ""
    dirty = False
    if commit:
        # Baselines are written during a run, and do not change the measured code.
        done = run_git(root, "status", "--porcelain", "-uno", "--", ".", ":!.dlperf")
        dirty = done.returncode != 0 or bool(done.stdout.strip())
    today = datetime.now(tz=UTC).date().isoformat()
    return Revision(f"{commit}+" if dirty else commit, branch or _in_ci(commit, variables), today)


def in_repository(root: Path) -> bool:
    """Whether a folder is in the working tree of a repository, even of one that git refuses."""
    folder = root.absolute()
    return "GIT_DIR" in os.environ or any(
        (above / ".git").exists() for above in (folder, *folder.parents)
    )


def why_no_commit(root: Path) -> str:
    """Why git tells no commit of a folder: its own words, with the remedy on further lines."""
    if not in_repository(root):
        return f"{root} is in no git repository"
    done = run_git(root, "rev-parse", "--git-dir")
    if done.returncode == 0:
        return "the repository has no commit yet"
    lines = filter(None, map(str.strip, done.stderr.splitlines()))
    return "\n  ".join(lines).removeprefix("fatal: ") or f"git ends with {done.returncode}"


def _in_ci(commit: str, variables: Mapping[str, str]) -> str:
    """The branch of a commit that CI checked out as a detached HEAD; empty if it is not named.

    Branch names of pull requests are ignored, as their authors choose them.
    """
    if variables.get("GITHUB_REF_TYPE", "branch") != "branch":
        return ""
    for measured, name in _BRANCHES_IN_CI:
        if commit and variables.get(measured) == commit:
            return variables.get(name, "")
    return ""


def reachable(root: Path, commit: str) -> bool:
    """Whether a commit is in this clone; false for a revision with uncommitted changes."""
    if not commit.isalnum():
        return False
    return git(root, "cat-file", "-t", commit) == "commit"


def hide_history(folder: Path) -> None:
    """Make git ignore the files of the history, in a folder that may not exist yet.

    Keeps an existing `.gitignore`. Errors are ignored: writing the history fails as well, and
    reports it.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".gitignore").open("x", encoding="utf-8") as file:
            file.write(_OWN_FILES)


def git(root: Path, *args: str) -> str:
    """Output of a git command; empty if it fails, or git is not installed."""
    done = run_git(root, *args)
    return done.stdout.strip() if done.returncode == 0 else ""


def run_git(
    folder: Path,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
    into: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run git; a failure is in its exit code and on its standard error.

    Args:
        folder: where.
        arguments: without `git`.
        variables: all of its environment; None for that of this process.
        seconds: after which it is ended.
        into: takes its output in place of the result.
    """
    command = ["git", *arguments]
    try:
        return subprocess.run(  # noqa: S603 - no shell
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if into is None else into,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            env=variables,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {seconds:g} s")
    except FileNotFoundError as error:
        missing = "git is not installed" if shutil.which("git") is None else str(error)
        return subprocess.CompletedProcess(command, 1, "", missing)
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def nul_entries(output: str) -> tuple[str, ...]:
    """The entries of an output that git ends with NUL each (`-z`)."""
    return tuple(filter(None, output.split("\0")))
