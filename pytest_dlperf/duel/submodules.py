"""The submodules of a worktree, checked out from the clones that the repository has of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.cleanup_process import common_folder
from pytest_dlperf.duel.worktree import check_out, isolated_git
from pytest_dlperf.git import nul_entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_dlperf.duel.cleanup_process import CleanupProcess

_LINK: Final = "160000"  # the mode of a submodule's entry in git's index


@dataclass(frozen=True, slots=True)
class EmptySubmodule:
    """A submodule that could not be checked out.

    Attributes:
        path: from the top folder of the worktree.
        reason: why, and what to do.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Store:
    """A repository that holds the commits of a submodule.

    Attributes:
        folder: its working tree, or without one its own folder.
        locating: options of git by which it is found there.
    """

    folder: Path
    locating: tuple[str, ...] = ()


def add_submodules(
    top: Path, tree: Path, cleanup: CleanupProcess, prefix: str = ""
) -> tuple[EmptySubmodule, ...]:
    """Check out all submodules of a worktree, and theirs.

    Each becomes a worktree of the clone that the repository has of it. Nothing is fetched, and no
    configuration changes, as it does by `git submodule update`.

    Args:
        top: the top folder of the repository; or of a submodule, or its own folder.
        tree: the top folder of the worktree.
        cleanup: removes them.
        prefix: from the worktree of the project to `tree`, with a slash at its end.

    Returns:
        Those that stay empty.
    """
    empty: list[EmptySubmodule] = []
    links = list(_links(tree))
    names = _names(tree) if links else {}
    for path, commit in links:
        store = _store(top, path, names.get(path, path))
        whole = prefix + path
        if store is None:
            reason = f"{whole} is not in this clone: git submodule update --init --recursive"
        elif not _has(store, commit):
            reason = (
                f"its commit {commit[:12]} is not in this clone: "
                f"git -C {store.folder} fetch origin {commit}"
            )
        else:
            reason = check_out(store.folder, commit, tree / path, cleanup, *store.locating)
        if store is None or reason:
            empty.append(EmptySubmodule(whole, reason))
        else:
            empty += add_submodules(store.folder, tree / path, cleanup, f"{whole}/")
    return tuple(empty)


def submodules_of(tree: Path) -> tuple[str, ...]:
    """The paths of the submodules of a working tree, whether or not they are checked out."""
    return tuple(path for path, _ in _links(tree))


def _links(tree: Path) -> Iterator[tuple[str, str]]:
    """Path and commit of each submodule."""
    for entry in nul_entries(isolated_git(tree, "ls-files", "--stage", "-z").stdout):
        described, _, path = entry.partition("\t")
        if described.startswith(_LINK):
            yield path, described.split()[1]


def _names(tree: Path) -> dict[str, str]:
    """The name of each submodule, by its path."""
    pattern = ("--get-regexp", r"^submodule\..*\.path$")
    done = isolated_git(tree, "config", "-z", "--file", ".gitmodules", *pattern)
    entries = (entry.partition("\n") for entry in nul_entries(done.stdout))
    return {path: key.removeprefix("submodule.").removesuffix(".path") for key, _, path in entries}


def _store(top: Path, path: str, name: str) -> _Store | None:
    if (top / path / ".git").exists():
        return _Store(top / path)
    # It is there under another path, or at the base only.
    folder = common_folder(top).resolve() / "modules" / name
    if not (folder / "HEAD").is_file():
        return None
    # Its configuration names a working tree that may not exist.
    return _Store(folder, (f"--git-dir={folder}", f"--work-tree={folder}"))


def _has(store: _Store, commit: str) -> bool:
    found = isolated_git(store.folder, *store.locating, "cat-file", "-e", f"{commit}^{{commit}}")
    return found.returncode == 0
