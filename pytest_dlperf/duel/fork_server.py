"""The controller's end of a process that imports frameworks once and forks the workers of a duel.

Importing a framework takes most of a worker's start. The server (`fork_server_process`) imports and
does nothing else: no device is looked for and no thread is started, so that a fork of it is as good
as a new interpreter. A worker is forked twice and adopted by the controller, which waits for it as
for any child. The messages:

prepare     modules, outside     imports; answers `ready`, or `refused` with the reason
fork        variables, folder,   answers `listening`, takes descriptors of the worker's channel and
            controller           log, and answers `forked` with its process
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.fork_server_process import READ_AT_IMPORT
from pytest_dlperf.duel.worker_process import WorkerLost, WorkerProcess, spawn
from pytest_dlperf.duel.worker_spec import with_random_layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_dlperf.duel.cleanup_process import ChildProcess, CleanupProcess
    from pytest_dlperf.duel.worker_process import Launch
    from pytest_dlperf.duel.worker_spec import WorkerSpec

_START: Final = "from pytest_dlperf.duel.fork_server_process import main; main()"

FRAMEWORKS: Final = tuple(READ_AT_IMPORT)
"""What is worth importing once, if the project imports it."""

_PR_SET_CHILD_SUBREAPER: Final = 36
_PREPARE_SECONDS: Final = 180.0
_FORK_SECONDS: Final = 60.0
_READ_FILES: Final = 5000
_CUSTOMIZE: Final = ("sitecustomize", "usercustomize")  # which only a new process runs
_FROM: Final = re.compile(rb"^\s*from\s+(\w+)", re.MULTILINE)
_IMPORT: Final = re.compile(rb"^\s*import\s+([^#;\n]+)", re.MULTILINE)
_FIRST: Final = re.compile(rb"\s*(\w+)")


def frameworks_in(sources: Iterable[bytes]) -> tuple[str, ...]:
    """Those of `FRAMEWORKS` that any of some Python files imports."""
    imported: set[str] = set()
    for source in sources:
        listed = (part for line in _IMPORT.findall(source) for part in line.split(b","))
        first = (name for part in listed for name in _FIRST.findall(part)[:1])
        imported.update(name.decode() for name in (*_FROM.findall(source), *first))
    return tuple(name for name in FRAMEWORKS if name in imported)


class ForkedProcess:
    """A child of this process that a fork server has forked; as `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self) -> int:
        """Wait for the end of its group, which was killed, and reap it."""
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
            _reap_adopted(self.pid)
        return self.returncode


def _reap_adopted(group: int) -> None:
    """Wait for a process group that was killed: its orphans, which only this process can reap."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


class ForkServer:
    """Forks workers, until it is lost or retired.

    Args:
        process: of the server.
        modules: to import.
        outside: a folder of which no file may be imported: these differ between the sides.
    """

    def __init__(self, process: WorkerProcess, modules: Sequence[str], outside: Path) -> None:
        _adopt_orphans(1)
        self._process = process
        self._is_ready = False
        self.refusal = ""
        """Why it forks no workers; empty if it does."""
        # The answer is waited for by the first fork: importing takes seconds.
        with self._refused_if_lost():
            folder = os.path.realpath(outside)
            process.send({"do": "prepare", "modules": list(modules), "outside": folder})

    @property
    def forks(self) -> bool:
        """Whether it is ready to fork; waits until that is known."""
        if not self.refusal and not self._is_ready:
            with self._refused_if_lost():
                answer = self._process.receive(_PREPARE_SECONDS, "importing frameworks").fields
                self._is_ready = answer["is"] == "ready"
                self.refusal = answer.get("why", "")
        return not self.refusal

    def launch(self, folder: Path, variables: Mapping[str, str], spawned: Launch) -> Launch:
        """Starts a worker as a fork.

        Args:
            folder: its working directory.
            variables: all of its environment.
            spawned: starts it in another way, if the server cannot.
        """

        def fork(channel: int, log: int) -> ChildProcess:
            fields = {"variables": dict(variables), "folder": str(folder)}
            with self._refused_if_lost():
                if self.forks:
                    self._process.send({"do": "fork", "controller": os.getpid(), **fields})
                    self._process.receive(_FORK_SECONDS, "forking")
                    self._process.send_descriptors([channel, log])
                    forked = self._process.receive(_FORK_SECONDS, "forking")
                    return ForkedProcess(forked.fields["pid"])
            return spawned(channel, log)

        return fork

    def retire(self, why: str) -> None:
        """Fork no more workers, and end the process."""
        self.refusal = self.refusal or why
        self._process.kill()
        _reap_adopted(self._process.pid)
        _adopt_orphans(0)

    @contextlib.contextmanager
    def _refused_if_lost(self) -> Iterator[None]:
        try:
            yield
        except WorkerLost as lost:
            self.refusal = str(lost)


def _adopt_orphans(value: int) -> None:
    """With 1, become the parent of descendants that lose theirs, as forked workers do."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, value, 0, 0, 0)


def start_fork_server(
    base: WorkerSpec,
    candidate: WorkerSpec,
    sources: Iterable[Path],
    outside: Path,
    cleanup: CleanupProcess,
) -> ForkServer | None:
    """A server that forks the workers of both sides; None if Python starts otherwise in each.

    Args:
        base: how its workers are started.
        candidate: how its workers are started.
        sources: Python files of the project, which import frameworks.
        outside: the repository, of which nothing may be imported.
        cleanup: ends the process at the latest.
    """
    names = {*base.variables, *candidate.variables} - {"PYTHONPATH"}
    if base.python != candidate.python or any(
        base.variables.get(name) != candidate.variables.get(name) for name in names
    ):
        return None
    entries = [
        Path(spec.folder, entry)
        for spec in (base, candidate)
        for entry in spec.variables.get("PYTHONPATH", "").split(os.pathsep)
    ]
    if any((entry / f"{name}.py").exists() for entry in entries for name in _CUSTOMIZE):
        return None
    command = [candidate.python, "-P", "-c", _START]
    launch = spawn(command, Path("/"), with_random_layout(candidate.variables))
    read = (source.read_bytes() for source in islice(sources, _READ_FILES) if source.is_file())
    return ForkServer(WorkerProcess("fork", launch, cleanup), frameworks_in(read), outside)
