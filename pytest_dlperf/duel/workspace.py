"""Ground: what a duel stands on: the two trees, and the environments that the sides run in."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.module_identity import shared_modules, sharing_error
from pytest_dlperf.duel.virtualenvs import activated, check_interpreter, make_environment
from pytest_dlperf.duel.worker_handle import WorkerHandle, WorkerProcess
from pytest_dlperf.duel.worktree import (
    add_worktree,
    python_files,
    rebase,
    repository,
    resolve,
    without_git,
)
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_dlperf.duel.cleanup_process import CleanupProcess
    from pytest_dlperf.duel.worker_handle import Fields, Role, WorkerState
    from pytest_dlperf.duel.worktree import Repository


_TOLERANT: Final = "--continue-on-collection-errors"


_START: Final = "from pytest_dlperf.pytest_plugin.duel_worker import main; main()"
_PADDING: Final = 4096
_HASH_SEEDS: Final = 2**32


@dataclass(frozen=True, slots=True)
class DuelRequest:
    """What the user asks for.

    Attributes:
        ref: the base.
        install: command that makes an environment a side; empty if none is wanted.
        python: interpreter of the base; empty for this one.
        folder: where pytest was started.
        root: pytest's root folder.
        options: pytest's arguments that are no paths.
        paths: what is to be collected.
        in_path: whether the working directory is where modules are found, as in `python -m`.
        cache: where trained models are kept between sessions; None if nowhere.
        patience: seconds for which a side may say nothing.
    """

    ref: str
    install: str
    python: str
    folder: Path
    root: Path
    options: tuple[str, ...]
    paths: tuple[str, ...]
    in_path: bool
    cache: Path | None
    patience: float


@dataclass(frozen=True, slots=True)
class Workspace:
    """Two trees, and who starts sides in them.

    Attributes:
        repo: the candidate's.
        tree: the base's.
        commit: the base's.
        launcher: starts sides.
        base_is_empty: whether nothing of what is to be collected is there at the base.
    """

    repo: Repository
    tree: Repository
    commit: str
    launcher: WorkerLauncher
    base_is_empty: bool

    def check(self, base: WorkerState, candidate: WorkerState) -> None:
        """Refuse sides that run the same code; sides show once what they have loaded.

        Raises:
            UsageError: naming what both run, and what to do.
        """
        if base.modules is None or candidate.modules is None:
            return
        shared = shared_modules(
            base.modules,
            candidate.modules,
            python_files(self.repo),
            str(self.repo.top),
            str(self.tree.top),
            prefix=self.repo.prefix,
        )
        if shared:
            raise sharing_error(shared)


def prepare_workspace(
    wish: DuelRequest, variables: Mapping[str, str], keeper: CleanupProcess
) -> Workspace:
    """Check the base out, and prepare what its side and the candidate's run with.

    Args:
        wish: of the user.
        variables: the environment of this process.
        keeper: removes all of it at the end.

    Raises:
        UsageError: if there is no such commit, or an environment cannot be made.
    """
    repo = repository(wish.folder)
    if not wish.root.resolve().is_relative_to(repo.top):
        raise UsageError(
            f"pytest's root folder {wish.root} is outside of the repository {repo.top}",
            "run pytest inside of the repository that holds the tests",
        )
    commit = resolve(repo, wish.ref)
    folder = Path(tempfile.gettempdir()) / f"dlperf-{secrets.token_hex(6)}"
    keeper.folder(folder)
    folder.mkdir(mode=0o700)
    tree = add_worktree(repo, commit, folder / "base" / repo.top.name, keeper)
    paths = _paths_at_base(wish, repo, tree)
    camps: dict[Role, WorkerSpec] = {
        "candidate": WorkerSpec(sys.executable, wish.folder, wish.root, wish.options, wish.paths),
        "base": WorkerSpec(
            str(check_interpreter(wish.python)) if wish.python else sys.executable,
            tree.root,
            Path(rebase(str(wish.root.resolve()), repo, tree.top)),
            (*(rebase(one, repo, tree.top) for one in wish.options), _TOLERANT),
            paths,
        ),
    }
    environments: dict[Role, Mapping[str, str]] = {
        "candidate": without_git(variables),
        "base": variables_at(variables, repo, tree.top),
    }
    if wish.install:
        for role, camp in camps.items():
            home = folder / f"{role}-environment"
            top = tree.root if role == "base" else repo.root
            python = make_environment(home, top, wish.install, environments[role], keeper)
            environments[role] = activated(home, environments[role])
            camps[role] = replace(camp, python=str(python))
    launcher = WorkerLauncher(
        camps,
        environments,
        keeper,
        in_path=wish.in_path,
        cache=wish.cache,
        patience=wish.patience,
    )
    return Workspace(repo, tree, commit, launcher, base_is_empty=bool(wish.paths) and not paths)


def _paths_at_base(wish: DuelRequest, repo: Repository, tree: Repository) -> tuple[str, ...]:
    """Files and folders to collect at the base: those that are there, whole.

    The candidate says which tests are run; the base may not have them all.
    """
    found = []
    for path in wish.paths:
        moved = rebase(path.partition("::")[0], repo, tree.top)
        if (tree.root / moved).exists():
            found.append(moved)
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Where one side is at home.

    Attributes:
        python: its interpreter.
        folder: its working directory.
        root: pytest's root folder there.
        options: pytest's arguments that are no paths, as they are read there.
        paths: what is collected; empty leaves it to pytest.
    """

    python: str
    folder: Path
    root: Path
    options: tuple[str, ...]
    paths: tuple[str, ...]


class WorkerLauncher:
    """Starts sides.

    Args:
        camps: of each role.
        variables: the environment of each role.
        in_path: whether the working directory is where modules are found, as in `python -m`.
        cache: where trained models are kept between sessions; None if nowhere.
        keeper: ends the processes at the latest.
        patience: seconds for which a side may say nothing.
    """

    def __init__(  # noqa: PLR0913 - all that a process is started with
        self,
        camps: Mapping[Role, WorkerSpec],
        variables: Mapping[Role, Mapping[str, str]],
        keeper: CleanupProcess,
        *,
        in_path: bool,
        cache: Path | None,
        patience: float,
    ) -> None:
        self._camps = camps
        self._variables = variables
        self._keeper = keeper
        self._in_path = in_path
        self._cache = cache
        self._patience = patience

    def start(
        self,
        role: Role,
        heard: Callable[[Fields], None],
        only: str | None = None,
    ) -> WorkerHandle:
        """Start a side.

        Args:
            role: which.
            heard: takes its reports and warnings.
            only: the node id of the only test that is wanted; None collects all.
        """
        camp = self._camps[role]
        file = None if only is None else str(camp.root / only.partition("::")[0])
        process = WorkerProcess(
            role,
            [camp.python, "-P", "-c", _START],
            folder=camp.folder,
            environment=elsewhere(self._variables[role]),
            keeper=self._keeper,
        )
        side = WorkerHandle(process, role, heard, self._patience)
        side.begin(
            {
                "role": role,
                "arguments": [*camp.options, *(camp.paths if file is None else (file,))],
                "path": str(camp.folder) if self._in_path else None,
                "cache": None if self._cache is None else str(self._cache),
            }
        )
        return side


def without_paths(arguments: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """The arguments of a pytest run that do not name what is to be collected.

    Args:
        arguments: all of them.
        paths: those that do, as often as they do.
    """
    kept = list(arguments)
    for path in paths:
        if path in kept:
            kept.remove(path)
    return tuple(kept)


def elsewhere(variables: Mapping[str, str]) -> dict[str, str]:
    """An environment with which a process has its memory at other places.

    A random amount of it moves the stack, and a random seed of hashes the order of whatever is
    hashed.
    """
    found = dict(variables)
    found.setdefault("PYTHONHASHSEED", str(secrets.randbelow(_HASH_SEEDS)))
    found["DLPERF_PADDING"] = "." * secrets.randbelow(_PADDING)
    return found


def variables_at(variables: Mapping[str, str], repo: Repository, tree: Path) -> dict[str, str]:
    """A process' environment, as it reads in a worktree.

    Args:
        variables: of this process.
        repo: the repository that it works in.
        tree: the worktree's top folder.
    """
    found = without_git(variables)
    if "PYTHONPATH" in found:
        entries = found["PYTHONPATH"].split(os.pathsep)
        found["PYTHONPATH"] = os.pathsep.join(rebase(entry, repo, tree) for entry in entries)
    return found
