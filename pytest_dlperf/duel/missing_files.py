"""What the base's tree lacks: files that git does not track, submodules, and files of Git LFS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.named_files import modules_in, paths_in
from pytest_dlperf.duel.worktree import CHECKOUT_SECONDS, git_environment, isolated_git
from pytest_dlperf.git import nul_entries
from pytest_dlperf.report.hints import BUILD_EACH_SIDE, carry_along

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_dlperf.duel.cleanup_process import CleanupProcess
    from pytest_dlperf.duel.submodules import EmptySubmodule
    from pytest_dlperf.duel.worktree import Repository

_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_POINTER_SIZES: Final = range(len(_POINTER), 1025)
_SHOWN: Final = 3
_CACHES: Final = frozenset(
    {
        *("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".dlperf"),
        *(".tox", ".nox", ".venv", "venv", "env", "node_modules", ".git", ".idea", ".vscode"),
        *(".ipynb_checkpoints", ".benchmarks", ".DS_Store", ".eggs", "htmlcov", ".coverage"),
        *("build", "dist", ".env", ".envrc", ".gitignore"),
    }
)
_CACHE_ENDS: Final = (".pyc", ".egg-info", ".egg-info/", ".swp", "~", ".log")
_MODULE: Final = ".py"
_COMPILED: Final = (".so", ".pyd", ".dylib")


@dataclass(frozen=True)
class MissingFiles:
    """Compares the trees of a duel, to explain why something fails at the base.

    Attributes:
        repo: of the candidate.
        tree: of the base.
        root: pytest's root folder at the candidate, which node ids and paths in messages are
            relative to; without symbolic links.
        submodules: that are empty at the base.
    """

    repo: Repository
    tree: Repository
    root: Path
    submodules: tuple[EmptySubmodule, ...] = ()

    def explain(self, error: str, test: str) -> str:
        """What the base's tree lacks and an error may be due to; lines with the way out.

        Args:
            error: all of its text; empty if there was none.
            test: node id of the test that it hindered.
        """
        named = tuple(dict.fromkeys((*self._paths(error, test), *self._modules(error))))
        if named:
            return "\n".join(self._told(named))
        lines = [f"submodule {one.path} is empty there: {one.reason}" for one in self.submodules]
        return "\n".join((*lines, *self.untracked_note()))

    def untracked_note(self) -> Iterator[str]:
        """A sentence on what the base's tree lacks, if it lacks anything."""
        if self.untracked:
            shown = ", ".join(self.untracked[:_SHOWN])
            more = ", ..." if len(self.untracked) > _SHOWN else ""
            yield (
                f"git does not track {shown}{more}: the base's tree lacks that; if the test needs "
                f"it, {carry_along(self.untracked[:1])}"
            )

    def shortened(self, text: str) -> str:
        """A text of the base's side, with paths from its top folder."""
        for top in (self.tree.top, self.tree.spelled):
            text = text.replace(f"{top}/", "")
        return text

    def submodule_of(self, file: str) -> EmptySubmodule | None:
        """The submodule that a file (from pytest's root folder) is in, if it is empty."""
        return self._submodule_above(str(self._prefix / file))

    @cached_property
    def untracked(self) -> tuple[str, ...]:
        """Files and folders that git does not track, neither caches nor environments nor modules.

        Of a folder in which git tracks nothing, the folder alone.
        """
        command = (
            *("ls-files", "--others", "--exclude-standard", "--directory"),
            *("--no-empty-directory", "-z"),
        )
        ignored = nul_entries(isolated_git(self.repo.top, *command, "--ignored").stdout)
        new = nul_entries(isolated_git(self.repo.top, *command).stdout)
        listed = (*ignored, *(name for name in new if not name.endswith(_MODULE)))
        kept = (name for name in listed if not self._is_cache(name) and self._is_absent(name))
        return tuple(sorted(map(self._from_root, kept)))

    @property
    def _prefix(self) -> PurePosixPath:
        return PurePosixPath(self.root.relative_to(self.repo.top))

    @property
    def lacks(self) -> str:
        """What the base's tree lacks that is no part of the commits; empty if nothing."""
        return ", ".join((*(one.path for one in self.submodules), *self.untracked[:_SHOWN]))

    def _is_cache(self, name: str) -> bool:
        environment = (self.repo.top / name / "pyvenv.cfg").is_file()
        parts = PurePosixPath(name).parts
        return environment or bool(_CACHES & set(parts)) or name.endswith(_CACHE_ENDS)

    def _is_new_module(self, name: str) -> bool:
        """Whether a file is code that the candidate has changed."""
        return name.endswith(_MODULE) and not self._is_ignored(name)

    def _is_absent(self, name: str) -> bool:
        return not _exists(self.tree.top / name)

    def _is_ignored(self, name: str) -> bool:
        return isolated_git(self.repo.top, "check-ignore", "--quiet", "--", name).returncode == 0

    def _paths(self, error: str, test: str) -> Iterator[str]:
        """Existing paths of the candidate that an error of the base names and the base lacks."""
        test_folder = (self._prefix / test.partition("::")[0]).parent
        modules = {part for module in modules_in(error) for part in (module, module.split(".")[0])}
        for text in paths_in(error):
            if text in modules:
                continue
            for folder in (self.repo.prefix, str(self._prefix), "", str(test_folder)):
                name = self._inside(text, folder)
                if name and self._is_absent(name) and _exists(self.repo.top / name):
                    if not (self._is_cache(name) or self._is_new_module(name)):
                        yield name
                    break

    def _inside(self, text: str, folder: str) -> str:
        """A path from the top folder; empty if it leads elsewhere."""
        path = os.path.normpath(self.tree.top / folder / text)
        for top in (self.tree.top, self.tree.spelled):
            if Path(path).is_relative_to(top):
                name = Path(path).relative_to(top).as_posix()
                return "" if name == "." else name
        return ""

    def _modules(self, error: str) -> Iterator[str]:
        """Existing files of the candidate of modules that an error of the base names."""
        for module in modules_in(error):
            path = module.replace(".", "/")
            patterns = (f"{path}.py", f"{path}.*.so", f"{path}.so", f"{path}/*")
            specs = [f":(top,glob)**/{pattern}" for pattern in patterns]
            listed = isolated_git(self.repo.top, "ls-files", "--others", "-z", "--", *specs)
            names = [name for name in nul_entries(listed.stdout) if self._is_absent(name)]
            yield from names[:_SHOWN]

    def _told(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            submodule = self._submodule_above(name)
            if submodule is not None:
                yield f"submodule {submodule.path} is empty there: {submodule.reason}"
                continue
            if isolated_git(self.repo.top, "ls-files", "-z", "--", f":(top,literal){name}").stdout:
                continue  # a part of the commits: not there is what the base is
            ignored = "is ignored by git" if self._is_ignored(name) else "is not tracked by git"
            shown = self._from_root(name)
            yield f"{shown} {ignored}, so the base's tree lacks it"
            if name.endswith((*_COMPILED, _MODULE)):
                yield f"{BUILD_EACH_SIDE}; or {carry_along([shown])}"
            else:
                yield carry_along([self._from_root(self._widest(name))])

    def _submodule_above(self, name: str) -> EmptySubmodule | None:
        above = (each for each in self.submodules if f"{name}/".startswith(f"{each.path}/"))
        return next(above, None)

    def _widest(self, name: str) -> str:
        """The folder of a file, if the base lacks that too and it holds more; else the file."""
        folder = PurePosixPath(name).parent
        if str(folder) == "." or not self._is_absent(str(folder)):
            return name
        several = sum(1 for _ in (self.repo.top / folder).iterdir()) > 1
        return str(folder) if several else name

    def _from_root(self, name: str) -> str:
        slash = "/" if name.endswith("/") else ""
        return os.path.relpath(self.repo.top / name, self.root) + slash


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long, or not to be seen
        return False


def lfs_pointers(repo: Repository, tree: Repository, cleanup: CleanupProcess) -> tuple[str, ...]:
    """Files of Git LFS whose content the base's tree lacks, while the candidate has its own.

    Git LFS is asked for it first, where it is installed. A file that is a pointer on both sides
    is the same to both.
    """
    lacking = _unlike(repo, tree)
    if lacking and isolated_git(tree.top, "lfs", "version").returncode == 0:
        cleanup.run(
            ["git", "lfs", "pull"],
            folder=tree.top,
            environment=git_environment(),
            seconds=CHECKOUT_SECONDS,
        )
        lacking = _unlike(repo, tree)
    return lacking


def _unlike(repo: Repository, tree: Repository) -> tuple[str, ...]:
    pointers = tuple(_pointers(tree.top))
    shared = {name for name in pointers if _is_pointer(repo.top / name)}
    lacking = (name for name in pointers if name not in shared)
    # One that is gone from the candidate counts only if that has the content of its own.
    return tuple(name for name in lacking if not shared or _exists(repo.top / name))


def _pointers(top: Path) -> Iterator[str]:
    listed = isolated_git(top, "ls-files", "--recurse-submodules", "-z").stdout
    return (name for name in nul_entries(listed) if _is_pointer(top / name))


def _is_pointer(path: Path) -> bool:
    try:
        if path.is_symlink() or path.stat().st_size not in _POINTER_SIZES:
            return False
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False
