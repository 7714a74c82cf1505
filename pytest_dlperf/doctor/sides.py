"""The sides of the doctor's duel: processes with identical code, started as those of a duel are."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf._processes import usable_processors
from pytest_dlperf.doctor import reference
from pytest_dlperf.duel.fork_server import start_fork_server
from pytest_dlperf.duel.no_base import problem_of
from pytest_dlperf.duel.opening import Opening, duel_settings
from pytest_dlperf.duel.worker_handle import STEPS, UnforkableError, WorkerHandle
from pytest_dlperf.duel.worker_process import WorkerProcess, spawn
from pytest_dlperf.duel.worker_spec import WorkerSpec, with_random_layout
from pytest_dlperf.errors import DuelError, UsageError
from pytest_dlperf.measure.telemetry import FamilyMeter, ProcessMeter
from pytest_dlperf.targets import keras_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from pytest_dlperf.duel.cleanup_process import CleanupProcess
    from pytest_dlperf.duel.questions import DuelSettings
    from pytest_dlperf.duel.scheduler import SlotSource
    from pytest_dlperf.duel.worker_handle import Fields, Role
    from pytest_dlperf.measure.telemetry import Meter

_START: Final = "from pytest_dlperf.pytest_plugin.duel_worker import main; main()"
_ROLES: Final[tuple[Role, Role]] = ("base", "candidate")
_TIMEOUT: Final = 120.0  # importing TensorFlow and building the model take the longest
_INI: Final = "[pytest]\ndlperf_duration = 1s\n"
_TEST: Final = "test_reference.py"
_CUSTOMISED: Final = (
    "PYTHONPATH has a sitecustomize or usercustomize, which only a new program runs"
)


@dataclass(frozen=True, slots=True)
class IdenticalPair:
    """Two fresh processes with identical code.

    Attributes:
        base: one side.
        candidate: the other one.
        meter: processor time of both and of this process.
    """

    base: SlotSource
    candidate: SlotSource
    meter: Meter


class IdenticalSides:
    """Starts pairs. Every method may raise `WorkerLost`, with a side's last output.

    Args:
        variables: of this process.
        cleanup: ends the processes and removes the project, whatever happens to this process.
        rng: chooses the order in which sides start and warm up.

    Raises:
        UsageError: if there is no folder for temporary files.

    Attributes:
        folder: of the project.
        spawned: why sides are started as new programs; empty if they are forked.
    """

    def __init__(
        self, variables: Mapping[str, str], cleanup: CleanupProcess, rng: np.random.Generator
    ) -> None:
        folder = self.folder = _project(cleanup)
        self._cleanup = cleanup
        self._rng = rng
        self._alive: list[WorkerHandle] = []
        self._leaving: list[WorkerHandle] = []
        self._problems: list[str] = []
        self._spec = WorkerSpec(
            python=sys.executable,
            folder=folder,
            root=folder,
            options=("-p", "no:cacheprovider"),
            paths=(str(folder / _TEST),),
            variables=worker_variables(variables),
        )
        sources = [Path(keras_models.__file__)]  # which imports the test's framework
        self._server = start_fork_server(self._spec, self._spec, sources, folder, cleanup)
        self.spawned = "" if self._server else _CUSTOMISED

    @contextlib.contextmanager
    def first(self) -> Iterator[tuple[IdenticalPair, DuelSettings]]:
        """A pair that was put under a load, as a duel's first one, and how to measure its slots."""
        workers = self._started()
        openings = {}
        for role in self._by_coin():
            opened = workers[role].open(whole=False) if workers[role].enter() else None
            if opened is None:
                raise self._left(role)
            openings[role] = Opening.from_json(opened)
        settings = duel_settings(openings["base"], openings["candidate"], usable_processors())
        yield self._pair(workers), settings
        self._dismiss()

    @contextlib.contextmanager
    def further(self) -> Iterator[IdenticalPair]:
        """A pair that is warm."""
        workers = self._started()
        for step in STEPS:
            for role in self._by_coin():
                workers[role].start(step)
            for role, worker in workers.items():
                if not worker.finish(step):
                    raise self._left(role)
        yield self._pair(workers)
        self._dismiss()

    def close(self) -> None:
        """End all processes."""
        self._kill()
        if self._server is not None:
            self._server.retire("all is measured")

    def _kill(self) -> None:
        while self._alive or self._leaving:
            (self._alive or self._leaving).pop().kill()

    def _started(self) -> dict[Role, WorkerHandle]:
        """Two processes that have come to their measurement."""
        try:
            return self._start()
        except UnforkableError as error:
            self._kill()
            if self._server is not None:
                self._server.retire(str(error))
            return self._start()

    def _start(self) -> dict[Role, WorkerHandle]:
        self._problems.clear()
        # The first process may be slower for as long as it lives.
        workers = {role: self._worker(role) for role in self._by_coin()}
        tests = {role: worker.collected()["tests"] for role, worker in workers.items()}
        while self._leaving:
            self._leaving.pop().kill()
        for role in self._by_coin():
            if not tests[role]:
                raise self._left(role)
            workers[role].run(tests[role][0]["test"], None)
        for role, worker in workers.items():
            if worker.proceed().at != "arrived":
                raise self._left(role)
        if self._server is not None:
            self.spawned = self._server.refusal
        return workers

    def _worker(self, role: Role) -> WorkerHandle:
        spec = self._spec
        variables = with_random_layout(spec.variables)
        launch = spawn([spec.python, "-P", "-c", _START], spec.folder, variables)
        if self._server is not None:
            launch = self._server.launch(spec.folder, variables, launch)
        process = WorkerProcess(role, launch, self._cleanup)
        worker = WorkerHandle(process, role, self._note, _TIMEOUT)
        self._alive.append(worker)
        worker.begin(
            {
                "role": role,
                "arguments": [*spec.options, *spec.paths],
                "trees": None,
                "path": None,
                "cache": None,
                "lead": False,
                "temporary": str(spec.folder),
                "values": None,
                "shared": {},
                "held": [],
            }
        )
        return worker

    def _pair(self, workers: Mapping[Role, WorkerHandle]) -> IdenticalPair:
        meter = FamilyMeter(ProcessMeter(), [worker.pid for worker in workers.values()])
        return IdenticalPair(workers["base"], workers["candidate"], meter)

    def _dismiss(self) -> None:
        """Have the processes of a pair end while the next ones start, as a duel does."""
        while self._alive:
            self._alive[-1].interrupt()
            self._leaving.append(self._alive.pop())

    def _by_coin(self) -> list[Role]:
        return [_ROLES[number] for number in self._rng.permutation(len(_ROLES))]

    def _note(self, fields: Fields) -> None:
        """Keep the errors of a side, which reports nothing else that matters here."""
        data = fields.get("data", {})
        if data.get("outcome") == "failed":
            self._problems.append(problem_of(data).line)

    def _left(self, role: Role) -> DuelError:
        why = self._problems[0] if self._problems else "its test ended before"
        return DuelError(f"the doctor's {role} side did not come to its measurement: {why}")


def _project(cleanup: CleanupProcess) -> Path:
    """A folder with the test, for as long as the cleanup process lives."""
    try:
        folder = Path(tempfile.gettempdir()) / f"dlperf-{secrets.token_hex(6)}"
        cleanup.folder(folder)  # before it is made: this process may be killed at any moment
        folder.mkdir(mode=0o700)
        (folder / "pytest.ini").write_text(_INI)
        shutil.copy(reference.__file__, folder / _TEST)
    except OSError as error:
        raise UsageError(
            f"the doctor's test cannot be written to a temporary folder: {error.strerror or error}",
            "let TMPDIR name a folder that can be written to",
        ) from None
    return folder


def worker_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of the sides: without options for pytest, and without GPUs.

    Args:
        variables: of this process.
    """
    kept = {name: value for name, value in variables.items() if not name.startswith("PYTEST_")}
    kept.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    kept["KERAS_BACKEND"] = "tensorflow"
    kept["CUDA_VISIBLE_DEVICES"] = kept["HIP_VISIBLE_DEVICES"] = "-1"
    return kept
