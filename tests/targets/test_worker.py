"""Workers: processes that answer batches, and what becomes of them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import worker_loaders
from fakes import FakeClock, FakeMeter, fake_instruments

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import AnswerError, TargetError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.telemetry import FamilyMeter
from pytest_dlperf.targets.worker import Loader, Worker, start_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("nothing_is_left")

BATCH = np.arange(6.0).reshape(3, 2)
PATIENCE = 60.0


def loader(function: Callable[..., object], **arguments: str | int) -> Loader:
    """What a worker of the tests loads."""
    return Loader(worker_loaders.__name__, function.__name__, arguments)


@contextlib.contextmanager
def working(function: Callable[..., object], **arguments: str | int) -> Iterator[Worker]:
    """A worker that has loaded."""
    (worker,) = start_workers(loader(function, **arguments), 1, PATIENCE)
    with contextlib.closing(worker):
        yield worker


def test_batches_are_answered() -> None:
    """Arguments reach the loader; batches of all sizes and types come back answered."""
    with working(worker_loaders.times, factor=3) as worker:
        np.testing.assert_array_equal(worker.infer(BATCH), BATCH * 3)
        large = np.ones((50_000, 20), np.float32)
        np.testing.assert_array_equal(worker.infer(large), large * 3)
        np.testing.assert_array_equal(worker.infer(BATCH[:1]), BATCH[:1] * 3)


def test_a_worker_is_not_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by what starts in every Python process either, as coverage of subprocesses does."""
    start = "import sys\nsys.settrace(lambda frame, event, arg: None)\n"
    (tmp_path / "sitecustomize.py").write_text(start)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    with working(worker_loaders.tracing) as worker:
        assert not worker.infer(BATCH).any()


def test_an_answer_is_there_until_the_next() -> None:
    """The answer is read in place: it outlives the worker, and the next one overwrites it."""
    with working(worker_loaders.times) as worker:
        first = worker.infer(BATCH)
        np.testing.assert_array_equal(first, BATCH)
        worker.infer(BATCH + 1)
        np.testing.assert_array_equal(first, BATCH + 1)
    np.testing.assert_array_equal(first, BATCH + 1)


def test_an_exception_keeps_its_name() -> None:
    """What a worker raises is counted by its own type, and the worker lives on."""
    with working(worker_loaders.picky) as worker:
        with pytest.raises(AnswerError, match="negative\nand more") as caught:
            worker.infer(-1 - BATCH)
        assert caught.value.kind == "ValueError"
        np.testing.assert_array_equal(worker.infer(BATCH), BATCH)


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        (worker_loaders.vandal, "ValueError", "read-only"),
        (worker_loaders.objects, "TypeError", "cannot be sent to another process"),
    ],
)
def test_answers_that_are_refused(function: Callable[..., object], kind: str, text: str) -> None:
    """A target that changes its input or answers with objects fails as it does in process."""
    with working(function) as worker:
        with pytest.raises(AnswerError, match=text) as caught:
            worker.infer(BATCH)
        assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (worker_loaders.killed, "its process was killed by SIGKILL, as the kernel does when"),
        (worker_loaders.leaver, "its process ended with exit code 3"),
    ],
)
def test_death_is_an_error_of_each_request(function: Callable[..., object], text: str) -> None:
    """A worker that dies in a call names how; so does every call after it; none hangs."""
    with working(function) as worker:
        for _ in range(3):
            with pytest.raises(AnswerError, match=text) as caught:
                worker.infer(BATCH)
            assert caught.value.kind == "replica died"


def test_a_worker_that_fails_to_start() -> None:
    """The last lines that it wrote are in the error, and the other workers are ended."""
    with pytest.raises(TargetError, match=r"exit code 1\n(?s:.*)ValueError: no such weights"):
        start_workers(loader(worker_loaders.broken, text="no such weights"), 2, PATIENCE)


def test_a_worker_that_does_not_load_in_time() -> None:
    """It is not waited for longer, and is ended."""
    with pytest.raises(TargetError, match=r"has not loaded within 0\.05 s"):
        start_workers(loader(worker_loaders.never), 1, 0.05)


def test_closing_twice() -> None:
    """The second time does nothing, and what is asked afterwards is an error in words."""
    with working(worker_loaders.times) as worker:
        worker.close()
        worker.close()
        with pytest.raises(AnswerError, match="its process was closed"):
            worker.infer(BATCH)


def test_closing_frees_who_waits() -> None:
    """A call that never returns ends when the worker is closed."""
    ended = []
    with working(worker_loaders.sleeper) as worker:

        def ask() -> None:
            with pytest.raises(AnswerError, match="its process was closed") as caught:
                worker.infer(BATCH)
            ended.append(caught.value.kind)

        thread = threading.Thread(target=ask)
        thread.start()
    thread.join(PATIENCE)
    assert ended == ["replica died"]


def test_a_call_that_was_given_up() -> None:
    """Whoever attends a call may stop waiting for it; the worker can still be closed."""
    with working(worker_loaders.sleeper) as worker, pytest.raises(AnswerError, match="50 ms"):
        call_with_timeout(0.05, lambda: worker.infer(BATCH))


def test_an_interrupted_call_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody waited for is never taken for that of the next batch."""
    with working(worker_loaders.times) as worker:
        connection = worker._connection  # noqa: SLF001 - the place where a call is interrupted

        class Interrupted:
            send_bytes = connection.send_bytes

            def recv_bytes(self) -> bytes:
                monkeypatch.undo()
                raise KeyboardInterrupt

        monkeypatch.setattr(worker, "_connection", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            worker.infer(BATCH)
        with pytest.raises(AnswerError, match="its process was closed"):
            worker.infer(BATCH + 1)


def test_ctrl_c_is_not_for_workers() -> None:
    """A terminal's signals go to this process, which then ends its workers in order."""
    with working(worker_loaders.surroundings) as worker:
        session, parent = worker.infer(BATCH)[0]
    assert parent == os.getpid()
    assert session == worker.pid


@pytest.mark.parametrize("function", ["times", "sleeper", "never"])
def test_workers_die_with_their_parent(function: str) -> None:
    """A parent that is killed leaves no worker, be it idle, in a call that hangs, or loading."""
    parent = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, worker_loaders.__file__, function],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    with parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        if function != "never":
            assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        gone, _, _ = select.select([worker], [], [], PATIENCE)
        os.close(worker)
    assert gone


def test_modules_of_tests_do_not_hide_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file like tests/queue.py, which pytest puts first in the path, does a worker no harm."""
    for name in ("queue", "json", "numpy", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    with working(worker_loaders.times) as worker:
        np.testing.assert_array_equal(worker.infer(BATCH), BATCH)


def test_what_workers_use_is_counted() -> None:
    """Their memory and processor time are added to this process', and stay when one has died."""
    with working(worker_loaders.times) as worker:
        meter = FamilyMeter(FakeMeter(), [worker.pid])
        assert meter.resident_bytes() > FakeMeter().resident_bytes() + (1 << 20)
        before = meter.usage().process
        assert before > 0  # it has imported numpy
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(AnswerError):
            worker.infer(BATCH)
        assert meter.usage().process >= before
        assert meter.resident_bytes() == FakeMeter().resident_bytes()


@dataclass
class Doomed:
    """A worker that is killed when it has been called so often."""

    worker: Worker
    clock: FakeClock
    lives: int

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Answer within a millisecond."""
        self.clock.now += 1_000_000
        self.lives -= 1
        if self.lives == 0:
            os.kill(self.worker.pid, signal.SIGKILL)
        return self.worker.infer(batch)


def test_a_worker_that_dies_under_load() -> None:
    """The run goes on to its end, and each request after the death is an error that names it."""
    clock = FakeClock()
    inputs = np.random.default_rng(0).random((20, 4))
    the_plan = plan([Options(scenario=ClosedLoop(1), duration=0.2)])
    with working(worker_loaders.times) as worker:
        target = Doomed(worker, clock, lives=250)
        data = as_data((inputs, None))
        measurement = measure(target, data, the_plan, fake_instruments(clock), test="t", name="")

    (error,) = measurement.errors
    assert error.kind == "replica died"
    assert "killed by SIGKILL" in error.example
    assert 0 < error.requests <= measurement.requests == 200
    assert measurement["errors"].value == pytest.approx(error.requests / 200)


def named_shared_memory() -> set[str]:
    """What this process has mapped of /dev/shm, where other processes make files, too."""
    maps = Path("/proc/self/maps").read_text()
    return {line for line in maps.splitlines() if "/dev/shm/" in line}  # noqa: S108


def test_nothing_is_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of a worker is a file without a name, and shared memory has no name either."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = named_shared_memory()

    with working(worker_loaders.times) as worker:
        worker.infer(BATCH)
        assert list(tmp_path.iterdir()) == []
        assert named_shared_memory() <= before
