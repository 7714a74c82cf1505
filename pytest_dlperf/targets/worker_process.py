"""The child's side of `targets.worker`: loads a function and answers batches."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Protocol, TypedDict

from pytest_dlperf.instrumentation import Instrumentation
from pytest_dlperf.targets.shared_memory import SharedArrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.trees import Tree


class Job(TypedDict):
    """Arguments of a worker process, sent as JSON.

    Attributes:
        path: the parent's `sys.path`.
        module, function, arguments: the fields of `Loader`.
        connection: file descriptor of the pipe to the parent.
        questions: file descriptor of the shared array that the parent writes.
        answers: file descriptor of the shared array that the worker writes.
    """

    path: list[str]
    module: str
    function: str
    arguments: dict[str, str | int]
    connection: int
    questions: int
    answers: int


class WorkerPipe(Protocol):
    """The part of `multiprocessing.connection.Connection` that `serve` uses."""

    def send_bytes(self, buf: bytes) -> None: ...  # noqa: D102

    def recv_bytes(self) -> bytes: ...  # noqa: D102


def main(job: Job) -> None:
    """Load, report readiness, and answer until the parent has gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Tools such as coverage start in the child processes of whom they watch as well.
    with Instrumentation().suspended():
        load = getattr(importlib.import_module(job["module"]), job["function"])
        infer = load(**job["arguments"])
        channel = Connection(job["connection"])
        with contextlib.suppress(EOFError, ConnectionError):
            channel.send_bytes(b"ready")
            serve(channel, SharedArrays(job["questions"]), SharedArrays(job["answers"]), infer)


def serve(
    channel: WorkerPipe,
    questions: SharedArrays,
    answers: SharedArrays,
    infer: Callable[[Tree], Tree],
) -> None:
    """Answer batches until the other side closes.

    Each message is the layout of a batch in `questions`. The reply is `+` and the layout of the
    answer in `answers`, or `!`, the exception's type, a newline and its text.

    Raises:
        EOFError, ConnectionError: when the other side has closed.
    """
    while True:
        layout = channel.recv_bytes()
        try:
            reply = b"+" + answers.put(infer(questions.get(layout)))
        except Exception as error:  # noqa: BLE001 - reported to the parent
            reply = f"!{type(error).__name__}\n{error}".encode(errors="replace")
        channel.send_bytes(reply)


def _end_with_parent() -> None:
    """End the process at once when the parent's end of standard input is closed."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)  # sys.exit() would end this thread only, and the main thread may be computing
