"""How the workers of one side are started: interpreter, folder, arguments and environment."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.servers import PADDING
from pytest_dlperf.duel.worktree import rebase, without_git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_dlperf.duel.worktree import Repository

_PADDING: Final = 4096
_HASH_SEEDS: Final = 2**32


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How the workers of one side are started: a `DuelRequest`, as it reads in this tree.

    Attributes:
        variables: all environment variables.
    """

    python: str
    folder: Path
    root: Path
    options: tuple[str, ...]
    paths: tuple[str, ...]
    variables: Mapping[str, str]


def with_random_layout(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables by which a process places its memory at random.

    A variable of random length moves the stack, and a random hash seed changes the order of
    whatever is hashed. So no two processes of equal code are slow or fast for the same reason.
    """
    changed = dict(variables)
    changed.setdefault("PYTHONHASHSEED", str(secrets.randbelow(_HASH_SEEDS)))
    changed[PADDING] = secrets.token_hex(8) + "." * secrets.randbelow(_PADDING)
    return changed


def variables_in_tree(variables: Mapping[str, str], repo: Repository, tree: Path) -> dict[str, str]:
    """A process' environment, as it reads in the worktree whose top folder is `tree`."""
    changed = without_git(variables)
    if "PYTHONPATH" in changed:
        entries = changed["PYTHONPATH"].split(os.pathsep)
        changed["PYTHONPATH"] = os.pathsep.join(rebase(entry, repo, tree) for entry in entries)
    return changed
