"""What worker processes load in the tests: each function returns `infer(batch) -> outputs`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Infer = Callable[[NDArray[Any]], NDArray[Any]]


def times(factor: int = 1) -> Infer:
    """Answers with the batch, multiplied."""
    return lambda batch: batch * factor


def tracing() -> Infer:
    """Answers whether it is traced, in the same shape."""
    return lambda batch: np.full(batch.shape, float(sys.gettrace() is not None))


def picky() -> Infer:
    """Raises for a batch that begins with a negative number."""

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        if batch[0, 0] < 0:
            message = "negative\nand more"
            raise ValueError(message)
        return batch

    return infer


def vandal() -> Infer:
    """Writes into its input."""

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        batch[0] = 0
        return batch

    return infer


def objects() -> Infer:
    """Answers with something that only this process understands."""
    return lambda batch: np.array([object()] * len(batch))


def killed() -> Infer:
    """Is killed in its first call."""

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return batch

    return infer


def leaver() -> Infer:
    """Leaves in its first call."""

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        os._exit(len(batch))

    return infer


def sleeper() -> Infer:
    """Never answers."""

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        threading.Event().wait()
        return batch

    return infer


def never() -> Infer:
    """Never loads."""
    sys.stderr.write("waiting for what never comes\n")
    sys.stderr.flush()
    threading.Event().wait()
    return times()


def broken(text: str) -> Infer:
    """Fails to load."""
    raise ValueError(text)


def surroundings() -> Infer:
    """Answers with its session and its parent."""
    return lambda _: np.array([[os.getsid(0), os.getppid()]])


def with_threads(folder: str, intra_op_threads: int) -> Infer:
    """Loads a saved function as replicas do; TensorFlow's threads are two more columns."""
    import tensorflow as tf

    from pytest_dlperf.targets.process_replica import load_function

    function = load_function(folder, intra_op_threads)
    config = tf.config.threading
    threads = [config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads()]
    return lambda batch: np.column_stack([function(batch), np.tile(threads, (len(batch), 1))])


def main() -> None:
    """Be a parent that starts the worker that is named, says its number, and waits to be killed."""
    from pytest_dlperf.targets.worker import Loader, Worker

    worker = Worker(Loader("worker_loaders", sys.argv[1], {}))
    sys.stdout.write(f"{worker.pid}\n")
    sys.stdout.flush()
    if sys.argv[1] != "never":
        worker.wait_until_ready(60)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        worker.infer(np.zeros((1, 1)))
    threading.Event().wait()


if __name__ == "__main__":
    main()
