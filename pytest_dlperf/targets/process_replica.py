"""Replicas in processes of their own, so that TensorFlow's threads can be set for each.

The parent traces and saves the function; each worker process loads it.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.targets import keras
from pytest_dlperf.targets.compiled import batched
from pytest_dlperf.targets.keras_backend import is_keras_model
from pytest_dlperf.targets.worker import Loader, Worker, start_workers

if TYPE_CHECKING:
    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.targets.padding import Infer
    from pytest_dlperf.trees import Rows, Tree


_START_SECONDS: Final = 300.0
_INTER_OP_THREADS: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class IsolatedTarget:
    """One replica in a process of its own; `infer` sends it a batch, padded if need be."""

    infer: Infer
    worker: Worker

    def close(self) -> None:
        """End the process."""
        self.worker.close()


def isolate(
    target: object, sample: Rows, plan: Plan, threads: int, clock: Clock
) -> tuple[tuple[IsolatedTarget, ...], str]:
    """A process for each replica of a model or function, with this many intra-op threads.

    `sample` has as many rows as the largest batch. Returns the replicas, and their description.

    Raises:
        TargetError: if a process does not start.
    """
    serving = plan.served
    with tempfile.TemporaryDirectory(prefix="dlperf-") as folder:
        model = target if is_keras_model(target) else None
        save_function(keras.trace(target, sample), model, folder)
        loader = Loader(
            __name__,
            load_function.__name__,
            {"folder": folder, "intra_op_threads": threads},
        )
        workers = start_workers(loader, serving.replicas, _START_SECONDS)
    with contextlib.ExitStack() as undo:
        for worker in workers:
            undo.callback(worker.close)
        calls = call_with_timeout(
            plan.compile_timeout,
            lambda: [batched(worker.infer, sample, plan, clock) for worker in workers],
        )
        undo.pop_all()
    replicas = tuple(
        IsolatedTarget(infer, worker) for (infer, _), worker in zip(calls, workers, strict=True)
    )
    each = "a process each" if len(workers) > 1 else "a process of its own"
    return replicas, f"{keras.name_of(target)} in {each}, {calls[0][1]}"


def save_function(concrete: Any, model: object | None, folder: str) -> None:  # noqa: ANN401
    """Save a concrete function of one argument, with the variables that it reads.

    `model` is the Keras model that it was traced from, which holds its lookup tables; or None.
    """
    import tensorflow as tf

    module = tf.Module()
    module.answer = concrete
    # saved_model.save refuses a function that reads variables which the module does not track.
    module.variables_read = list(concrete.variables)
    if model is not None:
        module.model = model
    tf.saved_model.save(module, folder)


@dataclass(frozen=True, slots=True)
class LoadedFunction:
    """A loaded function; numpy in, numpy out.

    Attributes:
        infer: the function.
        module: owns the variables, which a concrete function does not keep alive.
    """

    infer: Infer
    module: object

    def __call__(self, batch: Tree) -> object:
        """Answer a batch."""
        return self.infer(batch)


def load_function(folder: str, intra_op_threads: int) -> LoadedFunction:
    """Start TensorFlow with this many intra-op threads, and load what `save_function` wrote."""
    import tensorflow as tf

    # Before the first operation: TensorFlow fixes its thread pools and GPU memory at its start.
    # Operations run one after the other, as each replica answers one batch at a time.
    tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
    tf.config.threading.set_inter_op_parallelism_threads(_INTER_OP_THREADS)
    # By default TensorFlow takes a GPU's whole memory, which the parent process needs too.
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    module = tf.saved_model.load(folder)
    signature, _ = module.answer.structured_input_signature
    # Traced again: the wrapper around a loaded function costs 14 microseconds a call.
    answer = tf.function(
        module.answer, input_signature=signature, autograph=False
    ).get_concrete_function()
    return LoadedFunction(keras.caller(answer), module)
