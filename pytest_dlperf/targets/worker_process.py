"""Worker process: the child's side of `engine.worker`; loads a function and answers batches."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from pytest_dlperf.targets.shared_memory import SharedArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Job(TypedDict):
    """What a worker is told when it starts.

    Attributes:
        path: where modules are found, the parent's `sys.path`.
        module: where the loader is.
        function: the loader: a function that returns `infer(batch) -> outputs`, arrays both.
        arguments: of the loader.
        connection: descriptor of the pipe to the parent.
        questions: descriptor of the shared array that the parent writes.
        answers: descriptor of the one that the worker writes.
    """

    path: list[str]
    module: str
    function: str
    arguments: dict[str, str | int]
    connection: int
    questions: int
    answers: int


class WorkerPipe(Protocol):
    """A pipe to the other process that keeps messages apart."""

    def send_bytes(self, buf: bytes) -> None:
        """Send one message."""
        ...

    def recv_bytes(self) -> bytes:
        """Wait for one; EOFError when the other side is gone."""
        ...


def main(job: Job) -> None:
    """Load, say so, and answer until the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load = getattr(importlib.import_module(job["module"]), job["function"])
    infer = load(**job["arguments"])
    channel = Connection(job["connection"])
    with contextlib.suppress(EOFError, ConnectionError):
        channel.send_bytes(b"ready")
        serve(channel, SharedArray(job["questions"]), SharedArray(job["answers"]), infer)


def serve(
    channel: WorkerPipe,
    questions: SharedArray,
    answers: SharedArray,
    infer: Callable[[NDArray[Any]], NDArray[Any]],
) -> None:
    """Answer batches for ever.

    Each message is the layout of a batch in `questions`. The reply is `+` and the layout of the
    answer in `answers`, or `!`, the type of the exception, a new line and its text.

    Raises:
        EOFError, ConnectionError: when the other side is gone.
    """
    while True:
        layout = channel.recv_bytes()
        try:
            reply = b"+" + answers.put(infer(questions.get(layout)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is passed on in words
            reply = f"!{type(error).__name__}\n{error}".encode(errors="replace")
        channel.send_bytes(reply)


def _end_with_parent() -> None:
    """End the process when the parent's end of standard input is closed, whatever it is doing."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)
