"""A worker process that answers batches; `worker_process` is its other side.

Arrays travel in shared memory, and only their types and shapes through a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Final

from pytest_dlperf._processes import ending, last_lines
from pytest_dlperf.errors import AnswerError, TargetError
from pytest_dlperf.targets.shared_memory import SharedArrays

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.targets.worker_process import Job
    from pytest_dlperf.trees import Tree

_START: Final = (
    "import json, sys; job = json.loads(sys.argv[1]); "
    "sys.path += [path for path in job['path'] if path not in sys.path]; "
    "from pytest_dlperf.targets.worker_process import main; main(job)"
)
_EXIT_SECONDS: Final = 10.0
_SHOWN_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Loader:
    """Names `function` of a `module`, which returns `infer(batch) -> outputs` in the worker."""

    module: str
    function: str
    arguments: Mapping[str, str | int]


class Worker:
    """A process that answers one batch at a time; it ends with `close` or with this process.

    It inherits the environment, the working directory and `sys.path`, but no path comes before
    the standard library.
    """

    def __init__(self, loader: Loader) -> None:
        self._lock = threading.Lock()
        self._closed = False
        with contextlib.ExitStack() as stack:
            self._questions = stack.enter_context(contextlib.closing(SharedArrays()))
            self._answers = stack.enter_context(contextlib.closing(SharedArrays()))
            self._log = stack.enter_context(tempfile.TemporaryFile())
            self._connection, theirs = Pipe()
            stack.enter_context(self._connection)
            with theirs:
                job: Job = {
                    "path": [os.path.abspath(path) for path in sys.path],  # noqa: PTH100 - "" too
                    "module": loader.module,
                    "function": loader.function,
                    "arguments": dict(loader.arguments),
                    "connection": theirs.fileno(),
                    "questions": self._questions.descriptor,
                    "answers": self._answers.descriptor,
                }
                # A new interpreter: TensorFlow's threads do not survive a fork, and
                # `multiprocessing` would import `__main__`, which is pytest.
                # It sees this process end when its standard input is closed.
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    [sys.executable, "-P", "-c", _START, json.dumps(job)],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=self._log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(job["connection"], job["questions"], job["answers"]),
                    start_new_session=True,  # Ctrl-C reaches the parent only, which ends it
                    env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ},
                )
            self._resources = stack.pop_all()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def wait_until_ready(self, seconds: float) -> None:
        """Wait until it has loaded.

        Raises:
            TargetError: if it ends first or takes longer; with the last lines of its output.
        """
        problem = f"has not loaded within {seconds:g} s"
        try:
            if self._connection.poll(seconds):
                self._connection.recv_bytes()
                return
        except (EOFError, ConnectionError):
            problem = self._end()
        raise TargetError(f"the process of a replica {problem}{self._last_lines()}")

    def infer(self, batch: Tree) -> object:
        """Answer a batch; the result is read-only, and the next call overwrites it.

        Raises:
            AnswerError: if the worker raised (its kind is the exception's name) or has ended.
            TypeError: if arrays of this type cannot be sent.
        """
        with self._lock:
            if self._closed:
                raise AnswerError("replica died", f"its process {self._end()}")
            layout = self._questions.put(batch)
            try:
                self._connection.send_bytes(layout)
                reply = self._connection.recv_bytes()
            except (EOFError, OSError):
                raise AnswerError("replica died", f"its process {self._end()}") from None
            except BaseException:
                # The call was interrupted: its answer must not be taken for the next batch's.
                self._closed = True
                self._process.kill()
                raise
            if reply.startswith(b"+"):
                return self._answers.get(reply[1:])
        kind, _, text = reply[1:].decode().partition("\n")
        raise AnswerError(kind, text)

    def close(self) -> None:
        """Kill the process; it has nothing to save."""
        self._closed = True
        self._process.kill()
        self._process.communicate()
        # A thread in `infer` sees the end of the process and lets go of the lock first.
        with self._lock:
            self._resources.close()

    def _end(self) -> str:
        if self._closed:
            return "was closed"
        try:
            code = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "closed its pipe"
        return ending(code)

    def _last_lines(self) -> str:
        return "".join(f"\n  {line}" for line in last_lines(self._log.fileno(), _SHOWN_LINES))


def start_workers(loader: Loader, count: int, seconds: float) -> tuple[Worker, ...]:
    """Start workers in parallel, and wait at most `seconds` for each to load.

    If one fails, all are closed, and its TargetError is raised.
    """
    with contextlib.ExitStack() as undo:
        workers = tuple(
            undo.enter_context(contextlib.closing(Worker(loader))) for _ in range(count)
        )
        for worker in workers:
            worker.wait_until_ready(seconds)
        undo.pop_all()
    return workers
