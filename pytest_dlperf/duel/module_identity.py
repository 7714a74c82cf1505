"""Whether the two sides of a duel really ran two versions of the project.

An editable install, an absolute entry of PYTHONPATH or an ordinary install of the project lead
both sides to the same files, and code that is compared with itself always passes.
"""

from __future__ import annotations

import enum
import functools
import os
import re
import sys
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import UsageError
from pytest_dlperf.report.hints import INSTALL_EACH_SIDE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EXEMPT: Final = "pytest_dlperf"  # the same code must measure both sides
_SOURCES: Final = ("", "src", "lib", "python")
_NEVER_INSTALLED: Final = frozenset(
    {"benchmarks", "conftest", "docs", "examples", "noxfile", "scripts", "setup", "test", "tests"}
)
_LIBRARY: Final = re.compile(
    r"(^|/)(site-packages|dist-packages|__pypackages__|\.eggs|lib\d*/python\d+(\.\d+)?t?)/"
)
_SHOWN: Final = 3


class SharingReason(enum.Enum):
    """Why a module is not a side's own."""

    BASE_IN_WORKING_TREE = "the base commit's side loaded it from the working tree"
    CANDIDATE_IN_WORKTREE = "the working tree's side loaded it from the base commit's worktree"
    SAME_FILE = "both sides loaded it from there"


@dataclass(frozen=True, slots=True)
class Shared:
    """A module that both sides loaded from one file, or one side from the other's tree."""

    module: str
    file: str
    why: SharingReason


def loaded_modules() -> dict[str, str]:
    """Names and files of this process' modules, without symbolic links."""
    files = {}
    for name, module in tuple(sys.modules.items()):
        # Not by getattr(): some modules import others on attribute access.
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str) and name not in {"__main__", "__mp_main__"}:
            files[name] = real_file(file)
    return files


def real_file(file: str) -> str:
    """A module's file without symbolic links, as `os.path.realpath`.

    Kept, also for forks of this process: a framework has thousands of modules.
    """
    return _real_file(file if file.startswith(os.sep) else os.path.abspath(file))  # noqa: PTH100


@functools.cache
def _real_file(file: str) -> str:
    folder, name = os.path.split(file)
    path = os.path.join(_real_folder(folder), name)  # noqa: PTH118 - thousands of files
    return os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114 - as above


@functools.cache
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def own_modules(repo_files: Iterable[str], prefix: str = "") -> frozenset[str]:
    """Import names of the project's topmost packages and modules.

    Those at the top of the repository and of the root folder, and in `src`, `lib` and `python` of
    both. Names that projects do not install (`tests`, `setup`) are left out.

    Args:
        repo_files: tracked Python files, relative to the top folder, with `/`.
        prefix: from there to the root folder.
    """
    files = {PurePath(file).parts for file in repo_files}
    packages = {file[:-1] for file in files if file[-1] == "__init__.py"}
    tops = {PurePath(top, source).parts for top in ("", prefix) for source in _SOURCES}
    names = set()
    for file in files:
        for top in tops:
            if file[: len(top)] != top or top in packages:
                continue
            *folders, last = file[len(top) :]
            in_package = [
                depth
                for depth in range(1, len(folders) + 1)
                if (*top, *folders[:depth]) in packages
            ]
            if in_package:
                names.add(".".join(folders[: in_package[0]]))
            elif top or not folders:
                # Below a folder of sources also without __init__.py, as namespace packages are.
                names.add(".".join((*folders, last.removesuffix(".py"))))
    return frozenset(name for name in names if name.split(".")[0] not in _NEVER_INSTALLED)


def shared_modules(  # noqa: PLR0913 - two sides, and four facts about where they are
    base_modules: Mapping[str, str],
    candidate_modules: Mapping[str, str],
    repo_files: Iterable[str],
    toplevel: str,
    worktree: str,
    *,
    prefix: str = "",
) -> tuple[Shared, ...]:
    """Modules of the project of which the two sides do not have a version each.

    The base must load nothing from the working tree, the candidate nothing from the worktree, and
    both together none of the project's own modules from the same file. A virtual environment in
    the working tree is not part of the project; nor is this plugin ever.

    Args:
        base_modules: the base's modules and their files; all paths are without symbolic links.
        candidate_modules: likewise.
        repo_files: see `own_modules`.
        toplevel: the working tree's top folder.
        worktree: the worktree's top folder.
        prefix: from the top folder to pytest's root folder.

    Returns:
        Sorted by name; empty if all is well.
    """
    own = own_modules(repo_files, prefix)
    shared = {}
    for name, file in candidate_modules.items():
        if is_below(file, worktree):
            shared[name] = Shared(name, file, SharingReason.CANDIDATE_IN_WORKTREE)
    for name, file in base_modules.items():
        if is_below(file, toplevel) and not is_below(file, worktree):
            shared[name] = Shared(name, file, SharingReason.BASE_IN_WORKING_TREE)
        elif candidate_modules.get(name) == file and _is_own(name, own):
            shared[name] = Shared(name, file, SharingReason.SAME_FILE)
    return tuple(shared[name] for name in sorted(shared) if not _is_own(name, {_EXEMPT}))


def sharing_error(shared: tuple[Shared, ...]) -> UsageError:
    """The error for shared modules, of which there is at least one."""
    names = {each.module for each in shared}
    # A package stands for its modules.
    first = [each for each in shared if not _is_own(each.module.rpartition(".")[0], names)]
    shown = "".join(
        f"\n    {each.module} ({each.file}): {each.why.value}" for each in first[:_SHOWN]
    )
    more = len(shared) - len(first[:_SHOWN])
    rest = f"\n    and {more} more" if more else ""
    return UsageError(
        "the two sides of the duel are not two versions of the project, so that some of its code "
        f"would be compared with itself, which always passes:{shown}{rest}",
        "most often the project is installed in this environment, which both sides use. Either "
        'let pytest find it in each tree: pythonpath = ["src"] (or ["."]) under '
        f"[tool.pytest.ini_options], without absolute paths in PYTHONPATH; or {INSTALL_EACH_SIDE}",
    )


def editable_folders(path: Iterable[str], modules: Mapping[str, object]) -> list[str]:
    """The folders from which Python imports what is installed in editable mode.

    Args:
        path: the module path before anything of the project was imported.
        modules: by name; setuptools' finders are among them, which have no entry in the path.
    """
    finders = [module for name, module in modules.items() if name.startswith("__editable__")]
    found = [getattr(finder, "MAPPING", {}) for finder in finders]
    packages = [str(folder) for mapping in found for folder in mapping.values()]
    return [*path, *(os.path.dirname(folder) for folder in packages)]  # noqa: PTH120 - as `path`


def moved_to_tree(folders: Iterable[str], toplevel: str, worktree: str) -> list[str]:
    """Of these folders those in the working tree, each once, as they read in the worktree."""
    real = (os.path.realpath(folder) for folder in folders)
    inside = (
        f"{worktree}{folder.removeprefix(toplevel)}"
        for folder in real
        if is_below(f"{folder}/", toplevel) and not is_below(f"{folder}/", worktree)
    )
    return list(dict.fromkeys(inside))


def is_below(file: str, folder: str) -> bool:
    """Whether a file is in a folder, but in no virtual environment there."""
    inside = file.removeprefix(folder.rstrip("/") + "/")
    return inside != file and not _LIBRARY.search(inside)


def _is_own(name: str, own: Iterable[str]) -> bool:
    parts = name.split(".")
    prefixes = {".".join(parts[: depth + 1]) for depth in range(len(parts))}
    return not prefixes.isdisjoint(own)
