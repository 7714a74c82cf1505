"""Target: what is measured, brought to one shape: `infer(batch) -> outputs`."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pytest_dlperf.engine.attendance import within
from pytest_dlperf.engine.coroutines import CoroutineTarget, EventLoop, one_row
from pytest_dlperf.engine.isolation import IsolatedTarget, isolate
from pytest_dlperf.errors import TargetError, UsageError, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from pytest_dlperf.core.options import Clients
    from pytest_dlperf.core.plan import Plan
    from pytest_dlperf.engine.clock import Clock


FIRST_CALLS: Final = 10
"""Times the patience with a call: the first ones may compile."""


class Target(Protocol):
    """Something that answers batches."""

    def infer(self, batch: NDArray[Any]) -> object:
        """Answer a batch; both have one leading batch axis. Synchronous: returns when done."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A target that is ready to be put under load.

    Attributes:
        replicas: one target a replica.
        description: what it is, in words.
        compile_seconds: from being handed over to the end of the first call of each batch size,
            the start of processes included.
        sample_answer: an answer to the largest batch, shape `(rows, ...)`.
    """

    replicas: tuple[Target, ...]
    description: str
    compile_seconds: float
    sample_answer: NDArray[Any]

    @property
    def processes(self) -> tuple[int, ...]:
        """The ids of the processes that replicas have of their own."""
        return tuple(one.worker.pid for one in self.replicas if isinstance(one, IsolatedTarget))

    def close(self) -> None:
        """Give back what the replicas hold."""
        _close(self.replicas)


@dataclass(frozen=True, slots=True, eq=False)
class CallableTarget:
    """A plain callable `infer(batch)`, numpy in and numpy out."""

    infer: Callable[[NDArray[Any]], object]


def prepare(target: object, sample: NDArray[Any], plan: Plan, clock: Clock) -> Prepared:
    """Build and warm the replicas of a target.

    Args:
        target: a Keras model, a `tf.function` or concrete function, an object with a method
            `infer(batch)`, or a callable `infer(batch)`.
        sample: rows to warm it with, at least one, shape `(rows, ...)`.
        plan: how many replicas, the largest batch, and who calls.
        clock: time.

    Raises:
        UsageError: if it is none of these.
        TargetError: if its first call fails, does not return, or answers with something that is
            no array.
    """
    started_ns = clock.now_ns()
    patience = FIRST_CALLS * plan.call_timeout
    replicas, description = _resolve(target, sample, plan, clock)
    sample_answer = None
    try:
        for replica in dict.fromkeys(replicas):
            for size in _batch_sizes(min(plan.served.max_batch_size, len(sample))):
                sample_answer = _first_call(replica, sample[:size], description, patience)
    except BaseException:
        _close(replicas)
        raise
    if sample_answer is None:
        raise UsageError("the data has no rows, so there is nothing to ask")
    seconds = (clock.now_ns() - started_ns) * 1e-9
    return Prepared(replicas, description, seconds, sample_answer)


def _close(replicas: Iterable[Target]) -> None:
    for replica in dict.fromkeys(replicas):
        if isinstance(replica, CoroutineTarget | IsolatedTarget):
            replica.close()


def _resolve(
    target: object, sample: NDArray[Any], plan: Plan, clock: Clock
) -> tuple[tuple[Target, ...], str]:
    from pytest_dlperf.engine import keras

    serving, clients = plan.served, plan.clients

    if keras.is_model(target) or keras.is_function(target):
        if clients == "async":
            raise UsageError(
                f"dlperf(target): clients='async' with {keras.name_of(target)}",
                "it answers at once; clients='threads' calls it with one row at a time",
            )
        try:
            if serving.intra_op_threads is not None:
                return isolate(target, sample, serving, serving.intra_op_threads, clock)
            compiled = [
                keras.compile_target(target, sample, serving.max_batch_size, clock)
                # Threads that are clients share one copy; only replicas have their own.
                for _ in range(serving.replicas if clients == "virtual" else 1)
            ]
        except (TargetError, UsageError):
            raise
        except Exception as error:
            raise TargetError(
                f"{keras.name_of(target)} could not be compiled for inputs of shape "
                f"(batch, {', '.join(map(str, sample.shape[1:]))}) and type {sample.dtype}: "
                f"{kind_of(error)}: {error}"
            ) from error
        shared = serving.replicas // len(compiled)
        return tuple(compiled) * shared, compiled[0].description
    infer = _callable(target, clients)
    if serving.intra_op_threads is not None:
        raise UsageError(
            f"{serving} needs a Keras model or a tf.function, which can be sent to a process of "
            f"its own; {target!r:.80} cannot",
            "set the threads in the runtime that the callable uses",
        )
    description = f"callable {getattr(infer, '__qualname__', type(infer).__qualname__)}"
    # A method `infer` takes batches by its name; a function takes what its clients have.
    takes_rows = infer is target and clients != "virtual"
    if clients == "async":
        ask = one_row(infer) if takes_rows else infer
        return (CoroutineTarget(ask, EventLoop(asyncio.new_event_loop())),), description
    answer = CallableTarget(_one_row(infer) if takes_rows else infer)
    return (answer,) * serving.replicas, description


def _callable(target: object, clients: Clients) -> Callable[..., Any]:
    infer = getattr(target, "infer", target)
    if not callable(infer):
        raise UsageError(
            f"dlperf(target): {target!r:.80} cannot be measured",
            "expected a Keras model, a tf.function, or a callable infer(batch) -> outputs",
        )
    if isinstance(target, type):
        raise UsageError(
            f"dlperf(target): {target!r:.80} is a class",
            "expected a plain callable infer(batch) -> outputs",
        )
    coroutine = inspect.iscoroutinefunction(infer) or inspect.iscoroutinefunction(
        getattr(infer, "__call__", None)  # noqa: B004 - an object whose call is a coroutine
    )
    if coroutine and clients != "async":
        raise UsageError(
            f"dlperf(target): {target!r:.80} is a coroutine function",
            "clients='async' calls it with one row at a time",
        )
    if not coroutine and clients == "async":
        raise UsageError(
            f"dlperf(target): {target!r:.80} is no coroutine function",
            "clients='async' needs one; clients='threads' calls a plain function",
        )
    return infer


def _one_row(function: Callable[[NDArray[Any]], object]) -> Callable[[NDArray[Any]], object]:
    def infer(batch: NDArray[Any]) -> object:
        return np.asarray(function(batch[0]))[np.newaxis]

    return infer


def _batch_sizes(largest: int) -> list[int]:
    sizes = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    return [*sizes, largest] if largest else []


def _first_call(
    replica: Target, batch: NDArray[Any], description: str, seconds: float
) -> NDArray[Any]:
    __tracebackhide__ = True
    try:
        outputs = np.array(within(seconds, lambda: replica.infer(batch)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is passed on in words
        trace = error.__traceback__
        raise TargetError(
            f"{description} failed on its first call, with a batch of shape {batch.shape} and "
            f"type {batch.dtype}: {kind_of(error)}: {error}"
        ) from (error if trace and trace.tb_next else None)  # frames of the target, if it has any
    if outputs.dtype.kind not in "biuf" or not outputs.size or not outputs.ndim:
        raise TargetError(
            f"{description} answered with {outputs.dtype} of shape {outputs.shape}; "
            "expected one numeric array with one row a request"
        )
    return outputs
