"""Launcher: starts the sides of a duel, each in its own tree, all with the same settings."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.side_process import SideProcess
from pytest_dlperf.duel.worker_handle import RemoteSide
from pytest_dlperf.duel.worktree import rebase, without_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from pytest_dlperf.duel.cleanup_process import Keeper
    from pytest_dlperf.duel.worker_handle import Fields, Role
    from pytest_dlperf.duel.worktree import Repository

_START: Final = "from pytest_dlperf.pytest_plugin.duel_worker import main; main()"
_PADDING: Final = 4096
_HASH_SEEDS: Final = 2**32


@dataclass(frozen=True, slots=True)
class Camp:
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


class Launcher:
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
        camps: Mapping[Role, Camp],
        variables: Mapping[Role, Mapping[str, str]],
        keeper: Keeper,
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
    ) -> RemoteSide:
        """Start a side.

        Args:
            role: which.
            heard: takes its reports and warnings.
            only: the node id of the only test that is wanted; None collects all.
        """
        camp = self._camps[role]
        file = None if only is None else str(camp.root / only.partition("::")[0])
        process = SideProcess(
            role,
            [camp.python, "-P", "-c", _START],
            folder=camp.folder,
            environment=elsewhere(self._variables[role]),
            keeper=self._keeper,
        )
        side = RemoteSide(process, role, heard, self._patience)
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
