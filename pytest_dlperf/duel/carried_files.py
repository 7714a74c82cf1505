"""Files that git does not track, brought along into the tree of the base."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.worktree import isolated_git
from pytest_dlperf.errors import UsageError
from pytest_dlperf.git import nul_entries
from pytest_dlperf.report.hints import CARRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_dlperf.duel.worktree import Repository

_AT_ONCE: Final = 500  # arguments of one git command
_WILD: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class CarriedFiles:
    """What is to be brought along.

    Attributes:
        names: paths of files and symbolic links from the repository's top folder, sorted.
        size: of all of them, in bytes.
        key: changes with their names, sizes and times.
    """

    names: tuple[str, ...]
    size: int
    key: str


def find_carried(repo: Repository, root: Path, wanted: Iterable[str]) -> CarriedFiles:
    """The files that the user wants to bring along.

    Args:
        repo: that they are in.
        root: what their paths are relative to.
        wanted: files, folders and patterns; of the two last all that git does not track.

    Raises:
        UsageError: if one does not exist, is outside of the repository, or is tracked by git.
    """
    names: set[str] = set()
    for text in wanted:
        paths = _matches(repo, root, text)
        found = set(_listed(repo, paths, "--others"))
        if not found and any(_listed(repo, paths, "--cached")):
            raise UsageError(
                f"{CARRY}={text}: git tracks it, so the base has its own",
                "name what git ignores, or does not track",
            )
        if not found:
            raise UsageError(f"{CARRY}={text}: there is no file in it")
        names |= found
    kept = tuple(sorted(names))
    states = [(repo.top / name).lstat() for name in kept]
    known = [
        (name, state.st_size, state.st_mtime_ns) for name, state in zip(kept, states, strict=True)
    ]
    key = hashlib.sha256(repr(known).encode(errors="surrogateescape")).hexdigest()
    return CarriedFiles(kept, sum(state.st_size for state in states), key)


def _matches(repo: Repository, root: Path, text: str) -> list[Path]:
    """The paths that a wish names, below the repository's top folder."""
    whole = Path(os.path.abspath(root / Path(text).expanduser()))  # noqa: PTH100 - keeps links
    try:
        inside = whole.relative_to(repo.spelled)
    except ValueError:
        if not whole.is_relative_to(repo.top):
            raise UsageError(
                f"{CARRY}={text}: {whole} is outside of the repository {repo.top}",
                "the base reads it where it is: only files in the repository can be brought along",
            ) from None
        inside = whole.relative_to(repo.top)
    if not inside.parts or inside.parts[0] == ".git":
        raise UsageError(
            f"{CARRY}={text}: that is the repository itself", "name files or folders in it"
        )
    if os.path.lexists(repo.top / inside):
        return [_without_links(repo, text, repo.top / inside)]
    found = sorted(repo.top.glob(str(inside))) if _WILD & set(text) else []
    if not found:
        raise UsageError(
            f"{CARRY}={text}: there is no {repo.top / inside}",
            f"paths are relative to {root}",
        )
    return [_without_links(repo, text, path) for path in found if ".git" not in path.parts]


def _without_links(repo: Repository, text: str, path: Path) -> Path:
    for folder in path.relative_to(repo.top).parents:
        if (repo.top / folder).is_symlink():
            raise UsageError(
                f"{CARRY}={text}: {folder} is a symbolic link",
                f"bring the link itself along: {CARRY}={folder}",
            )
    return path


def _listed(repo: Repository, paths: Sequence[Path], which: str) -> Iterator[str]:
    """Files below some paths that git tracks, or does not; from the repository's top folder."""
    by_owner: dict[Path, list[str]] = {}
    for path in paths:
        # A submodule is asked itself.
        owner = next(
            folder
            for folder in (path, *path.parents)
            if (folder / ".git").is_file() or (folder != path and (folder / ".git").exists())
        )
        by_owner.setdefault(owner, []).append(
            ":(top,literal)" + ("" if path == owner else str(path.relative_to(owner)))
        )
    for owner, specs in by_owner.items():
        for first in range(0, len(specs), _AT_ONCE):
            batch = specs[first : first + _AT_ONCE]
            done = isolated_git(owner, "ls-files", which, "-z", "--", *batch)
            if done.returncode:
                raise UsageError(f"git ls-files fails in {owner}: {done.stderr.strip()}")
            for name in nul_entries(done.stdout):
                for file in _whole(owner / name) if name.endswith("/") else (owner / name,):
                    yield file.relative_to(repo.top).as_posix()


def _whole(folder: Path) -> Iterator[Path]:
    """All of a repository that is no submodule, which git lists as a folder."""
    for parent, folders, files in os.walk(folder):
        links = (each for each in folders if (Path(parent) / each).is_symlink())
        yield from (Path(parent) / each for each in (*files, *links))


def copy_carried(repo: Repository, tree: Repository, carried: CarriedFiles) -> None:
    """Copy files into a worktree; symbolic links stay links, to where they lead.

    They are copied, since a side may change them.

    Raises:
        UsageError: if the base has a file of that name, or there is no room.
    """
    free = shutil.disk_usage(tree.top).free
    if carried.size > free:
        raise UsageError(
            f"{CARRY}: {_gigabytes(carried.size)} do not fit into {tree.top.parent.parent}, "
            f"where {_gigabytes(free)} are free",
            "let TMPDIR name a folder on a larger file system",
        )
    for name in carried.names:
        source, copy = repo.top / name, tree.top / name
        if os.path.lexists(copy):
            raise UsageError(
                f"{CARRY}: the base has a {name} of its own, which git tracks there",
                "leave it out: the base is measured with its own",
            )
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink():
                copy.symlink_to(_target(repo, tree, source))
            else:
                shutil.copy2(source, copy)
        except OSError as error:
            why = error.strerror or error
            raise UsageError(
                f"{CARRY}: {name} cannot be copied into the base's tree: {why}"
            ) from None


def _target(repo: Repository, tree: Repository, link: Path) -> Path:
    """Where the copy of a link leads: in the repository to the same place of the base's tree."""
    target = link.readlink()
    whole = Path(os.path.abspath(link.parent / target))  # noqa: PTH100 - the next link only
    if not whole.is_relative_to(repo.top):
        return whole
    return tree.top / whole.relative_to(repo.top) if target.is_absolute() else target


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
