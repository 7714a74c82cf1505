"""Isolation: a compiled model in processes of its own, whose threads can be chosen."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.targets import keras
from pytest_dlperf.targets.worker import Loader, Worker, start_workers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.targets.padding import Infer


_START_SECONDS: Final = 300.0


_INTER_OP_THREADS: Final = 1


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
        ways = call_with_timeout(
            plan.compile_timeout,
            lambda: [keras.batched(w.infer, sample, plan, clock) for w in workers],
        )
        undo.pop_all()
    replicas = tuple(
        IsolatedTarget(infer, worker) for (infer, _), worker in zip(ways, workers, strict=True)
    )
    each = "a process each" if len(workers) > 1 else "a process of its own"
    return replicas, f"{keras.name_of(target)} in {each}, {ways[0][1]}"


def save_function(concrete: Any, model: object | None, folder: str) -> None:  # noqa: ANN401
    """Write a concrete function of one argument, with the variables that it reads.

    Args:
        concrete: the function.
        model: the Keras model whose answers it gives, if it is one: holds the tables of words
            and numbers that its layers look up.
        folder: where to.
    """
    import tensorflow as tf

    module = tf.Module()
    module.answer = concrete
    module.variables_read = list(concrete.variables)
    if model is not None:
        module.model = model
    tf.saved_model.save(module, folder)


@dataclass(frozen=True, slots=True)
class LoadedFunction:
    """A concrete function that was loaded; numpy in, numpy out.

    Attributes:
        answer: the function.
        module: what it was loaded with: holds its variables, which the function need not.
    """

    answer: Any
    module: object

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Answer a batch; reading the result back waits for the device."""
        import tensorflow as tf

        outputs: NDArray[Any] = self.answer(tf.convert_to_tensor(batch)).numpy()
        return outputs


def load_function(folder: str, intra_op_threads: int) -> LoadedFunction:
    """Start TensorFlow with so many threads, and load what `save_function` wrote.

    Operations run one after the other, as one batch at a time is asked for. GPUs give memory as
    it is needed, since another process has the same model there.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
    tf.config.threading.set_inter_op_parallelism_threads(_INTER_OP_THREADS)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    module = tf.saved_model.load(folder)
    signature, _ = module.answer.structured_input_signature
    # Traced once more: what was loaded is wrapped, which costs 14 microseconds a call.
    answer = tf.function(
        module.answer, input_signature=signature, autograph=False
    ).get_concrete_function()

    return LoadedFunction(answer, module)
