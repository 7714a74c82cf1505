"""The two trees of a duel, and how worker processes are started in them."""

from __future__ import annotations

import secrets
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.carried_files import copy_carried, find_carried
from pytest_dlperf.duel.fork_server import start_fork_server
from pytest_dlperf.duel.missing_files import MissingFiles, lfs_pointers
from pytest_dlperf.duel.module_identity import shared_modules, sharing_error
from pytest_dlperf.duel.no_base import ModuleSources
from pytest_dlperf.duel.servers import PADDING
from pytest_dlperf.duel.submodules import add_submodules
from pytest_dlperf.duel.virtualenvs import activated, check_interpreter, make_environment
from pytest_dlperf.duel.worker_handle import WorkerHandle
from pytest_dlperf.duel.worker_process import WorkerProcess, spawn
from pytest_dlperf.duel.worker_spec import WorkerSpec, variables_in_tree, with_random_layout
from pytest_dlperf.duel.worktree import (
    add_worktree,
    python_files,
    rebase,
    repository,
    resolve,
    without_git,
)
from pytest_dlperf.errors import UsageError
from pytest_dlperf.report.hints import NAME_ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_dlperf.duel.carried_files import CarriedFiles
    from pytest_dlperf.duel.cleanup_process import CleanupProcess
    from pytest_dlperf.duel.fork_server import ForkServer
    from pytest_dlperf.duel.worker_handle import Fields, Role, WorkerState
    from pytest_dlperf.duel.worktree import Repository
    from pytest_dlperf.measure.telemetry import Progress

_START: Final = "from pytest_dlperf.pytest_plugin.duel_worker import main; main()"
_TOLERANT: Final = "--continue-on-collection-errors"


@dataclass(frozen=True, slots=True)
class DuelRequest:
    """A duel, as the user has requested it.

    Attributes:
        ref: the base.
        install: command that installs the project in an environment for each side; empty: none.
        python: interpreter of the base; empty for this one.
        folder: where pytest was started.
        root: pytest's root folder.
        options: pytest's arguments without `paths`.
        paths: to collect.
        in_path: whether modules are found in the working directory, as with `python -m`.
        ini_file: pytest's configuration file, if it has one.
        carry: files and folders to copy into the base's tree, relative to `root`.
        cache: folder of trained models.
        timeout: seconds within which a worker must answer.
        session: what the worker's session is told besides, as plain values.
    """

    ref: str
    install: str
    python: str
    folder: Path
    root: Path
    options: tuple[str, ...]
    paths: tuple[str, ...]
    in_path: bool
    ini_file: Path | None
    carry: tuple[str, ...]
    cache: Path | None
    timeout: float
    session: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Workspace:
    """The trees of the candidate (`repo`) and of the base (`tree`), and how workers start there.

    Attributes:
        missing: compares the two, to explain why something fails at the base.
        carried: files that were copied into the tree of the base.
        unmeasurable: why nothing can be measured at the base; empty if something may.
    """

    request: DuelRequest
    repo: Repository
    tree: Repository
    commit: str
    specs: Mapping[Role, WorkerSpec]
    cleanup: CleanupProcess
    fork_server: ForkServer | None
    missing: MissingFiles
    carried: CarriedFiles
    unmeasurable: str = ""

    def sources(self, test: str) -> ModuleSources:
        """The file of a test on both sides."""
        file = test.partition("::")[0]
        base, candidate = (_text(self.specs[role].root / file) for role in ("base", "candidate"))
        return ModuleSources(base, base == candidate)

    @property
    def base_is_empty(self) -> bool:
        """Whether nothing of what is to be collected exists at the base."""
        return bool(self.request.paths) and not self.specs["base"].paths

    def start(
        self,
        role: Role,
        on_message: Callable[[Fields], None],
        only: str | None = None,
        *,
        lead: bool = False,
    ) -> WorkerHandle:
        """Start a worker.

        Args:
            role: its side.
            on_message: takes its notices, such as reports.
            only: a test (node id) whose file alone is collected.
            lead: whether its tests are the ones that are reported.
        """
        spec, cache = self.specs[role], self.request.cache
        command = [spec.python, "-P", "-c", _START]
        variables = with_random_layout(spec.variables)
        launch = spawn(command, spec.folder, variables)
        if self.fork_server is not None:
            launch = self.fork_server.launch(spec.folder, variables, launch)
        self.cleanup.marked(PADDING, variables[PADDING])
        process = WorkerProcess(role, launch, self.cleanup)
        paths = spec.paths if only is None else (str(spec.root / only.partition("::")[0]),)
        worker = WorkerHandle(process, role, on_message, self.request.timeout)
        worker.padding = variables[PADDING]
        try:
            worker.begin(
                {
                    "role": role,
                    "arguments": [*spec.options, *paths],
                    "path": str(spec.folder) if self.request.in_path else None,
                    "cache": None if cache is None else str(cache),
                    "lead": lead,
                    **self.request.session,
                }
            )
        except BaseException:
            worker.kill()  # the caller has no handle of it yet
            raise
        return worker

    def stop_forking(self, why: str) -> None:
        """Start further workers as new processes."""
        if self.fork_server is not None:
            self.fork_server.retire(why)

    def check(self, base: WorkerState, candidate: WorkerState) -> None:
        """Refuse workers that run the same code; once, when both have sent their modules.

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
    request: DuelRequest,
    variables: Mapping[str, str],
    cleanup: CleanupProcess,
    progress: Progress,
) -> Workspace:
    """Check the base out, and make the virtual environments that were requested.

    Args:
        request: of the user.
        variables: the environment of this process.
        cleanup: removes all of it at the end.
        progress: shows what takes long.

    Raises:
        UsageError: if there is no such commit, or the base's tree or an environment cannot be made.
    """
    repo = repository(request.folder)
    root = request.root.resolve()
    if not root.is_relative_to(repo.top):
        raise _outside(request, repo)
    commit = resolve(repo, request.ref)
    carried = find_carried(repo, root, request.carry)
    folder = Path(tempfile.gettempdir()) / f"dlperf-{secrets.token_hex(6)}"
    cleanup.folder(folder)  # before it is made: this process may be killed at any moment
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(
            f"no folder can be made in {folder.parent}: {error.strerror or error}",
            "let TMPDIR name a folder that can be written to",
        ) from None
    progress.show(f"checking out {request.ref}", None)
    tree = add_worktree(repo, commit, folder / "base" / repo.top.name, cleanup)
    missing = MissingFiles(repo, tree, root, add_submodules(repo.top, tree.top, cleanup))
    pointers = lfs_pointers(repo, tree, cleanup)
    if carried.names:
        progress.show(f"copying {carried.size / 1e9:.2f} GB into the tree of {request.ref}", None)
        copy_carried(repo, tree, carried)
    specs: dict[Role, WorkerSpec] = {
        "candidate": WorkerSpec(
            python=sys.executable,
            folder=request.folder,
            root=request.root,
            options=request.options,
            paths=request.paths,
            variables=without_git(variables),
        ),
        "base": WorkerSpec(
            python=str(check_interpreter(request.python)) if request.python else sys.executable,
            folder=tree.root,
            root=Path(rebase(str(request.root.resolve()), repo, tree.top)),
            options=(
                *(rebase(each, repo, tree.top) for each in request.options),
                *_own_ini_file(request, repo),
                _TOLERANT,
            ),
            paths=_paths_at_base(request.paths, repo, tree),
            variables=variables_in_tree(variables, repo, tree.top),
        ),
    }
    if request.install:
        tops: dict[Role, Path] = {"candidate": repo.root, "base": tree.root}
        for role, top in tops.items():
            environment = folder / f"{role}-environment"
            specs[role] = _installed(specs[role], environment, top, request.install, cleanup)
    unmeasurable = _without_content(pointers, request.ref, commit) if pointers else ""
    files = (repo.top / name for name in python_files(repo))
    server = start_fork_server(specs["base"], specs["candidate"], files, repo.top, cleanup)
    return Workspace(
        request, repo, tree, commit, specs, cleanup, server, missing, carried, unmeasurable
    )


def _outside(request: DuelRequest, repo: Repository) -> UsageError:
    ini_file = request.ini_file
    found = f", where it found {ini_file.name}," if ini_file is not None else ""
    kept = f" (which keeps {ini_file})" if ini_file is not None else ""
    return UsageError(
        f"pytest's root folder {request.root}{found} is outside of the repository {repo.top}, "
        "and only the repository is checked out",
        f"name a root folder in it: {NAME_ROOT}={repo.top}{kept}; or a configuration file of its "
        f"own: -c {repo.top / 'pytest.ini'}",
    )


def _own_ini_file(request: DuelRequest, repo: Repository) -> tuple[str, ...]:
    """Options by which the base reads a configuration file that is above the repository."""
    ini_file = request.ini_file
    if ini_file is None or ini_file.resolve().is_relative_to(repo.top):
        return ()
    return ("-c", str(ini_file.resolve()))


def _without_content(pointers: Sequence[str], ref: str, commit: str) -> str:
    more = f" and {len(pointers) - 1} more" if len(pointers) > 1 else ""
    return (
        f"{pointers[0]}{more} at {ref} is a pointer of Git LFS instead of the file's content\n"
        f"fetch it, then run again: git lfs install --local && git lfs fetch origin {commit}"
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _installed(
    spec: WorkerSpec, environment: Path, top: Path, command: str, cleanup: CleanupProcess
) -> WorkerSpec:
    python = make_environment(environment, top, command, spec.variables, cleanup)
    return replace(spec, python=str(python), variables=activated(environment, spec.variables))


def _paths_at_base(paths: Iterable[str], repo: Repository, tree: Repository) -> tuple[str, ...]:
    """Files and folders to collect at the base: those that exist there, whole.

    The candidate says which tests are run; the base may not have them all.
    """
    moved = (rebase(path.partition("::")[0], repo, tree.top) for path in paths)
    return tuple(dict.fromkeys(path for path in moved if (tree.root / path).exists()))


def without_paths(arguments: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """The arguments of a pytest run without the paths, each as often as it was given."""
    kept = list(arguments)
    for path in paths:
        if path in kept:
            kept.remove(path)
    return tuple(kept)
