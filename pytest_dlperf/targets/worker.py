"""Worker: a process of its own that answers batches, for what a process can be told only once.

A batch and its answer travel in shared memory, and a few bytes about them through a pipe.
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
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf._processes import ending, last_lines
from pytest_dlperf.errors import AnswerError, TargetError
from pytest_dlperf.targets.shared_memory import SharedArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.targets.worker_process import Job

_START: Final = (
    "import json, sys; job = json.loads(sys.argv[1]); "
    "sys.path += [one for one in job['path'] if one not in sys.path]; "
    "from pytest_dlperf.targets.worker_process import main; main(job)"
)
_DEATH_SECONDS: Final = 10.0
_SHOWN_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Loader:
    """A function that makes, in the worker, what answers: `infer(batch) -> outputs`, arrays both.

    Attributes:
        module: where it is.
        function: its name.
        arguments: what it is called with.
    """

    module: str
    function: str
    arguments: Mapping[str, str | int]


class Worker:
    """A process that answers batches, one at a time, until this is closed or this process ends.

    It is started anew, never forked: TensorFlow's threads do not survive a fork. Neither is
    `__main__` imported again, which would be pytest. The environment, the working directory and
    the module path are this process', except that nothing of it comes before the standard library.

    Args:
        loader: what it loads.
    """

    def __init__(self, loader: Loader) -> None:
        self._lock = threading.Lock()
        self._closed = False
        with contextlib.ExitStack() as stack:
            self._questions = stack.enter_context(contextlib.closing(SharedArray()))
            self._answers = stack.enter_context(contextlib.closing(SharedArray()))
            self._log = stack.enter_context(tempfile.TemporaryFile())
            self._connection, theirs = Pipe()
            stack.enter_context(self._connection)
            with theirs:
                job: Job = {
                    "path": [os.path.abspath(one) for one in sys.path],  # noqa: PTH100 - "" too
                    "module": loader.module,
                    "function": loader.function,
                    "arguments": dict(loader.arguments),
                    "connection": theirs.fileno(),
                    "questions": self._questions.descriptor,
                    "answers": self._answers.descriptor,
                }
                # Its standard input is what tells it that this process is gone.
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    [sys.executable, "-P", "-c", _START, json.dumps(job)],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=self._log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(job["connection"], job["questions"], job["answers"]),
                    start_new_session=True,  # Ctrl-C is for this process, which then ends it
                    env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ},
                )
            self._resources = stack.pop_all()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def wait_until_ready(self, seconds: float) -> None:
        """Return when it has loaded.

        Raises:
            TargetError: if it ends before, or takes longer; with the last lines that it wrote.
        """
        trouble = f"has not loaded within {seconds:g} s"
        try:
            if self._connection.poll(seconds):
                self._connection.recv_bytes()
                return
        except (EOFError, ConnectionError):
            trouble = self._end()
        raise TargetError(f"the process of a replica {trouble}{self._last_lines()}")

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Answer a batch; the answer is read-only, and overwritten by the next one.

        Raises:
            AnswerError: if the worker raised, by the name of its exception, or is dead.
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
                # Whoever waited is gone: the answer must not be taken for that of another batch.
                self._closed = True
                self._process.kill()
                raise
            if reply.startswith(b"+"):
                return self._answers.get(reply[1:])
        kind, _, text = reply[1:].decode().partition("\n")
        raise AnswerError(kind, text)

    def close(self) -> None:
        """End the process, if it has not ended; it has nothing to save."""
        self._closed = True
        self._process.kill()
        self._process.communicate()
        # Whoever waits for an answer learns of the end first.
        with self._lock:
            self._resources.close()

    def _end(self) -> str:
        """How the process ended, in words."""
        if self._closed:
            return "was closed"
        try:
            code = self._process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "closed its pipe"
        return ending(code)

    def _last_lines(self) -> str:
        return "".join(f"\n  {line}" for line in last_lines(self._log.fileno(), _SHOWN_LINES))


def start_workers(loader: Loader, count: int, seconds: float) -> tuple[Worker, ...]:
    """Start workers side by side, and return when all have loaded.

    Args:
        loader: what each loads.
        count: how many.
        seconds: that each may take.

    Raises:
        TargetError: if one fails; none is left then.
    """
    with contextlib.ExitStack() as undo:
        workers = tuple(
            undo.enter_context(contextlib.closing(Worker(loader))) for _ in range(count)
        )
        for worker in workers:
            worker.wait_until_ready(seconds)
        undo.pop_all()
    return workers
