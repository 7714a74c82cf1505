"""However a duel ends, nothing of it is left, and the repository is as it was."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import psutil
import pytest
from duel_projects import AGAINST, PLUGINS, Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.subprocess

T = TypeVar("T")

PATIENCE: Final = 60.0
MODEL: Final = """
import os
import sys
import threading
from pathlib import Path
from pytest_dlperf.clock import MonotonicClock

CLOCK = MonotonicClock()
SECONDS = 50e-6
MARKS = Path(os.environ["MARKS"])
LAST = int(os.environ["LAST"])

def stop_here(moment):
    (MARKS / f"{moment}-{os.getpid()}").touch()
    if len(list(MARKS.glob(f"{moment}-*"))) >= LAST:
        try:  # two processes may come at once
            (MARKS / "claimed").touch(exist_ok=False)
        except FileExistsError:
            return
        (MARKS / f"reached-{os.getpid()}").touch()
        threading.Event().wait()

def infer(batch):
    if threading.current_thread().name == "dlperf slots" and os.environ["MOMENT"] == "slots":
        stop_here("slots")
    CLOCK.sleep_until_ns(CLOCK.now_ns() + int(SECONDS * 1e9))
    return batch.copy()

if os.environ["MOMENT"] == "start":
    stop_here("start")
"""
TESTS: Final = """
@pytest.mark.dlperf("throughput >= 0.8 * baseline", detect="throughput 50%", **SHORT)
def test_it(dlperf):
    dlperf(model.infer, DATA)

def test_next():
    pass
"""
MOMENTS: Final = {"starting": ("start", 1), "in slots": ("slots", 2), "confirming": ("slots", 3)}
"""At which call, and which process that comes there, by order, waits for its end."""
SECOND_PAIR: Final = {"starting another pair": ("start", 3)}
"""Likewise, of the second pair."""


class Run:
    """One run of pytest in a session of its own, which stops at a moment of its duel.

    Args:
        project: where.
        moment: when.
    """

    def __init__(self, project: Project, moment: str) -> None:
        self._project = project
        self._marks = project.top.parent / "marks"
        self._marks.mkdir()
        where, last = (MOMENTS | SECOND_PAIR)[moment]
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "pytest", *PLUGINS, *AGAINST],
            cwd=project.top,
            env={**os.environ, "MARKS": str(self._marks), "MOMENT": where, "LAST": str(last)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def reached(self) -> int:
        """Wait for the moment; returns the process that waits in it."""
        return int(until(lambda: self._marked("reached-*"), "the moment").rpartition("-")[2])

    def _marked(self, pattern: str) -> str:
        return next((path.name for path in self._marks.glob(pattern)), "")

    def ended(self) -> str:
        """Wait for its end, and see that nothing is left of it."""
        said, _ = self.process.communicate(timeout=PATIENCE)
        until(lambda: not self._project.leftovers(), "an end of the folders")
        until(lambda: not list(processes_in(self._project.temporary)), "an end of all processes")
        return said


def until(found: Callable[[], T], what: str) -> T:
    """Look until something is found, which is bound to come."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        select.select([], [], [], 0.01)
    raise TimeoutError(what)


def processes_in(temporary: Path) -> Iterator[int]:
    """Living processes whose folder for temporary files this is: all that a run has started."""
    sign = f"TMPDIR={temporary}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if sign in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository whose working tree is 10 times slower than its commit, and has more."""
    project = Project(pytester, monkeypatch)
    project.write("model.py", MODEL)
    project.tests(TESTS)
    project.commit()
    project.write("model.py", "STASHED = True\n" + MODEL)
    project.git("stash")
    project.write("model.py", MODEL.replace("50e-6", "500e-6"))
    project.write("staged.py", "")
    project.git("add", "staged.py")
    project.write("untracked.py", "")
    return project


@pytest.fixture
def start(project: Project) -> Iterator[Callable[[str], Run]]:
    """Starts a run; one that is not over at the end of the test is killed."""
    runs: list[Run] = []

    def begin(moment: str) -> Run:
        runs.append(Run(project, moment))
        return runs[-1]

    yield begin
    for run in runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGKILL)
        run.process.communicate()


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("SIGTERM", "in slots"),
        *((name, moment) for name in ("SIGINT", "SIGKILL") for moment in MOMENTS),
    ],
)
def test_signal_to_the_run(
    project: Project, start: Callable[[str], Run], moment: str, name: str
) -> None:
    """Ctrl-C, which the whole foreground group gets, a request to end, and kill -9."""
    state = project.state()
    run = start(moment)
    run.reached()

    os.killpg(run.process.pid, signal.Signals[name])
    said = run.ended()

    assert project.state() == state
    if name == "SIGINT":
        assert run.process.returncode == pytest.ExitCode.INTERRUPTED
        assert "KeyboardInterrupt" in said
    else:
        assert run.process.returncode == -signal.Signals[name]


def oldest(program: str, temporary: Path) -> int:
    """The first process that was started with a word in its command line; others are its forks."""
    found = [
        process
        for process in map(psutil.Process, processes_in(temporary))
        if any(program in argument for argument in process.cmdline())
    ]
    return min(found, key=lambda process: process.create_time()).pid


@pytest.mark.parametrize("program", ["fork_server_process", "cleanup_process.py"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_helper(
    project: Project, start: Callable[[str], Run], moment: str, program: str
) -> None:
    """Nothing of a run is left that has lost its fork server or cleanup process, and then ends."""
    state = project.state()
    run = start(moment)
    run.reached()

    os.kill(oldest(program, project.temporary), signal.SIGKILL)
    os.killpg(run.process.pid, signal.SIGINT)
    run.ended()

    assert project.state() == state
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize("moment", ["in slots", "confirming", *SECOND_PAIR])
def test_killed_side(project: Project, start: Callable[[str], Run], moment: str) -> None:
    """A killed candidate is an error of its test, a killed base leaves it open; the run goes on."""
    state = project.state()
    run = start(moment)

    os.kill(run.reached(), signal.SIGKILL)
    said = run.ended()

    assert project.state() == state
    assert run.process.returncode == pytest.ExitCode.TESTS_FAILED
    if "the candidate side was killed by SIGKILL" in said:
        assert "1 passed, 1 error" in said
    else:
        assert "the base side was killed by SIGKILL" in " ".join(said.split())
        assert "1 failed, 1 passed" in said


def test_killed_side_at_the_start(project: Project, start: Callable[[str], Run]) -> None:
    """Without the candidate there is nothing to run, without the base nothing is compared."""
    state = project.state()
    run = start("starting")

    os.kill(run.reached(), signal.SIGKILL)
    said = run.ended()

    assert project.state() == state
    if run.process.returncode == pytest.ExitCode.USAGE_ERROR:
        assert "the candidate side was killed by SIGKILL" in said
    else:
        shown = " ".join(said.split())
        assert "the base side was killed by SIGKILL" in shown
        assert "1 failed, 1 passed" in said
