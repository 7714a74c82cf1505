"""Isolation: a compiled model in processes of its own, whose threads can be chosen."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf._processes import within
from pytest_dlperf.targets import keras, saved_model
from pytest_dlperf.targets.worker import Loader, Worker, start_workers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.targets.padding import Infer

_START_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class IsolatedTarget:
    """One replica in a process of its own.

    Attributes:
        infer: sends a batch there, perhaps padded.
        worker: the process.
    """

    infer: Infer
    worker: Worker

    def close(self) -> None:
        """End the process."""
        self.worker.close()


def isolate(
    target: object, sample: NDArray[Any], plan: Plan, threads: int, clock: Clock
) -> tuple[tuple[IsolatedTarget, ...], str]:
    """A model or function in a process for each replica, with so many threads an operation.

    It is traced here, saved, and loaded there; the saved files are gone when this returns.

    Returns:
        The replicas, and what they are in words.

    Raises:
        UsageError: if it has several outputs.
        TargetError: if a process does not start.
    """
    serving = plan.served
    with tempfile.TemporaryDirectory(prefix="dlperf-") as folder:
        model = target if keras.is_model(target) else None
        saved_model.save_function(keras.trace(target, sample), model, folder)
        loader = Loader(
            saved_model.__name__,
            saved_model.load_function.__name__,
            {"folder": folder, "intra_op_threads": threads},
        )
        workers = start_workers(loader, serving.replicas, _START_SECONDS)
    with contextlib.ExitStack() as undo:
        for worker in workers:
            undo.callback(worker.close)
        ways = within(
            plan.compile_timeout,
            lambda: [keras.batched(w.infer, sample, plan, clock) for w in workers],
        )
        undo.pop_all()
    replicas = tuple(
        IsolatedTarget(infer, worker) for (infer, _), worker in zip(ways, workers, strict=True)
    )
    each = "a process each" if len(workers) > 1 else "a process of its own"
    return replicas, f"{keras.name_of(target)} in {each}, {ways[0][1]}"
