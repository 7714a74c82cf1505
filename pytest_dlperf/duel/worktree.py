"""The repository under test, and a worktree of another of its commits."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import UsageError
from pytest_dlperf.git import nul_entries, run_git

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from typing import IO

    from pytest_dlperf.duel.cleanup_process import CleanupProcess

CHECKOUT_SECONDS: Final = 600.0
"""How long a checkout may take; large files may have to be fetched for it."""

_SECONDS: Final = 60.0
_LOCATING: Final = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"),
    *("GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_IMPLICIT_WORK_TREE"),
)


@dataclass(frozen=True, slots=True)
class Repository:
    """A checkout, and the folder in it that tests are run from.

    Attributes:
        top: its top folder, without symbolic links.
        prefix: from there to pytest's root folder; empty if they are the same.
        spelled: the top folder as it was spelled, with symbolic links.
    """

    top: Path
    prefix: str
    spelled: Path

    @property
    def root(self) -> Path:
        """The folder that tests are run from."""
        return self.top / self.prefix


def without_git(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables without those that git sets for hooks, which name a repository."""
    return {name: value for name, value in environment.items() if name not in _LOCATING}


def repository(root: Path) -> Repository:
    """The repository that a folder is in.

    Raises:
        UsageError: if it is in none, or git is missing or refuses it.
    """
    if shutil.which("git") is None:
        raise UsageError("a duel needs git, which is not installed", "install git")
    done = isolated_git(root, "rev-parse", "--show-toplevel", "--show-prefix")
    if done.returncode:
        raise UsageError(
            f"{root} is not in the working tree of a git repository: {_message(done)}",
            "a duel compares with a commit: run pytest in a checkout of the project",
        )
    top, prefix = (*done.stdout.split("\n"), "")[:2]
    prefix = prefix.rstrip("/")
    depth = len(Path(prefix).parts)
    spelled = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links
    above = (spelled, *spelled.parents)
    if depth < len(above) and above[depth].resolve() == Path(top).resolve():
        return Repository(Path(top).resolve(), prefix, above[depth])
    return Repository(Path(top).resolve(), prefix, Path(top))


def resolve(repo: Repository, ref: str) -> str:
    """The commit that a reference names; of `A...B`, the merge base of A and B.

    Raises:
        UsageError: if it names none in this repository.
    """
    first, dots, second = ref.partition("...")
    if not dots:
        return _commit(repo, ref)
    ends = [_commit(repo, end or "HEAD") for end in (first, second)]
    done = isolated_git(repo.top, "merge-base", *ends)
    if done.returncode:
        raise UsageError(f"{ref}: the two have no commit in common", _missing_history(repo))
    return done.stdout.strip()


def _commit(repo: Repository, ref: str) -> str:
    if not ref or ref.startswith("-"):
        raise UsageError(
            f"{ref!r} names no commit to compare with",
            "name a branch, a tag or a commit, such as origin/main",
        )
    # Older versions of git do not know --end-of-options here, hence no dash.
    done = isolated_git(repo.top, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if done.returncode:
        raise UsageError(f"{ref!r} names no commit in {repo.top}", _unknown(repo, ref))
    return done.stdout.strip()


def _unknown(repo: Repository, ref: str) -> str:
    remotes = isolated_git(repo.top, "remote").stdout.split()
    for remote in remotes:
        there = f"refs/remotes/{remote}/{ref}^{{commit}}"
        if isolated_git(repo.top, "rev-parse", "--verify", "--quiet", there).returncode == 0:
            return f"there is {remote}/{ref}: compare with that"
    return _missing_history(repo) or (
        f"if it is on a server, fetch it: git fetch {remotes[0]} {ref}"
        if remotes
        else "git branch --all and git tag list the names that are there"
    )


def _missing_history(repo: Repository) -> str:
    if isolated_git(repo.top, "rev-parse", "--is-shallow-repository").stdout.strip() != "true":
        return ""
    return (
        "this clone is shallow, so most commits are missing: run git fetch --unshallow first "
        "(for GitHub's actions/checkout set fetch-depth: 0; for GitLab GIT_DEPTH: 0)"
    )


def add_worktree(
    repo: Repository, commit: str, folder: Path, cleanup: CleanupProcess
) -> Repository:
    """Check a commit out into a folder of its own, which is removed at the end.

    The repository's index, branches, reflogs and files stay as they are. Submodules stay empty, as
    they do in every worktree: see `submodules.py`.

    Args:
        repo: whose commit it is.
        commit: its hash.
        folder: must not exist yet.
        cleanup: removes it.

    Raises:
        UsageError: if git refuses, in git's words; or if the commit lacks the root folder.
    """
    problem = check_out(repo.top, commit, folder, cleanup)
    if problem:
        raise UsageError(
            f"commit {commit[:12]} cannot be checked out in {folder}: {problem}",
            "a worktree needs space there, and a repository that can be written to (or a clone of "
            "it: git clone --shared)",
        )
    # Resolved now that it is there.
    tree = Repository(folder.resolve(), repo.prefix, folder)
    if not tree.root.is_dir():
        raise UsageError(
            f"commit {commit[:12]} has no folder {repo.prefix}, which pytest is run in",
            "compare with a commit that has it",
        )
    return tree


def check_out(
    store: Path, commit: str, folder: Path, cleanup: CleanupProcess, *locating: str
) -> str:
    """Add a worktree of a repository, which is removed at the end.

    Args:
        store: a working tree of the repository, or its own folder with `locating`.
        commit: its hash.
        folder: of the worktree; must not exist yet, or be empty.
        cleanup: removes it.
        locating: options of git that say where the repository is.

    Returns:
        Why it cannot be made, in git's words; empty if it was.
    """
    cleanup.tree(store, folder)  # before it is made: this process may be killed at any moment
    code, lines = cleanup.run(
        [
            *("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *locating),
            *("worktree", "add", "--detach", "--quiet", str(folder), commit),
        ],
        folder=store,
        environment=git_environment(),
        seconds=CHECKOUT_SECONDS,
    )
    if code == 0:
        return ""
    took = f"it took longer than {CHECKOUT_SECONDS:.0f} s" if code is None else "git says:"
    return took + "".join(f"\n    {line}" for line in lines)


def python_files(repo: Repository) -> tuple[str, ...]:
    """Tracked Python files, also of submodules, relative to the top folder, with `/`."""
    listed = isolated_git(repo.top, "ls-files", "-z", "--recurse-submodules", "--", "*.py")
    return nul_entries(listed.stdout)


def commit_day(repo: Repository, commit: str) -> str:
    """The day of a commit, as 2026-11-24."""
    return isolated_git(repo.top, "show", "--no-patch", "--format=%cs", commit).stdout.strip()


def rebase(argument: str, repo: Repository, tree: Path) -> str:
    """A command-line argument, or an entry of PYTHONPATH, as it reads in a worktree at `tree`.

    Each absolute path in the repository becomes the same path in the worktree, also after an
    option (`--opt=/repo/a`) and before a test's name (`/repo/tests/x.py::t`). A virtual
    environment in the repository is not in the worktree: paths into one stay.
    """
    tops = sorted({str(repo.top), str(repo.spelled)}, key=len, reverse=True)
    # Neither the end nor the beginning of another path.
    start = r"(?:(?<![^\s=:,;\"'(\[{])|(?<=^-[A-Za-z])|(?<=://))"
    inside = r"(?P<rest>/[^\s:,;\"')\]}]*)?(?=$|[\s:,;\"')\]}=])"
    pattern = re.compile(f"{start}(?P<top>{'|'.join(map(re.escape, tops))}){inside}")

    def moved(match: re.Match[str]) -> str:
        path = match["top"] + (match["rest"] or "")
        if Path(path).is_relative_to(tree) or _in_environment(Path(path), Path(match["top"])):
            return path
        return f"{tree}{match['rest'] or ''}"

    return pattern.sub(moved, argument)


def _in_environment(path: Path, top: Path) -> bool:
    folders = (path, *path.parents)
    inside = folders[: folders.index(top)]
    return any((folder / "pyvenv.cfg").is_file() for folder in inside)


def git_environment() -> dict[str, str]:
    """The variables that git runs with."""
    # In English, since its messages are shown in ours; and without refreshing the user's index.
    ours = {"LC_ALL": "C.UTF-8", "LANGUAGE": "", "GIT_TERMINAL_PROMPT": "0"}
    return {**without_git(os.environ), **ours, "GIT_OPTIONAL_LOCKS": "0"}


def checked_git(folder: Path, *arguments: str, into: IO[bytes] | None = None) -> str:
    """The output of `isolated_git`.

    Raises:
        UsageError: if git fails, in its words.
    """
    done = isolated_git(folder, *arguments, into=into)
    if done.returncode:
        raise UsageError(f"git {arguments[0]} fails in {folder}: {_message(done)}")
    return done.stdout or ""


def isolated_git(
    folder: Path, *arguments: str, into: IO[bytes] | None = None
) -> subprocess.CompletedProcess[str]:
    """`run_git` with `git_environment`."""
    return run_git(
        folder,
        *("-c", "core.fsmonitor=false", *arguments),
        variables=git_environment(),
        seconds=_SECONDS,
        into=into,
    )


def _message(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().removeprefix("fatal: ") or f"exit code {done.returncode}"
