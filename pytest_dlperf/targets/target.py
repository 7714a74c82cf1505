"""Target: what is measured, brought to one shape: `infer(batch) -> outputs`."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf._values import explicit
from pytest_dlperf.errors import RemoteError, TargetError, UsageError, kind_of
from pytest_dlperf.load.async_runner import CoroutineTarget, EventLoop, one_row
from pytest_dlperf.targets.padding import Infer, padded, padding_words, powers_of_two
from pytest_dlperf.targets.process_replica import IsolatedTarget, isolate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.options import Clients
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.load.runner import Target


_CHECK_SERVER: Final = (
    "check that the server runs and has loaded the model, and that the URL and the model's name "
    "are right"
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A target that is ready to be put under load.

    Attributes:
        replicas: one target a replica.
        description: what it is, in words.
        remark: what a reader should know of it; may be empty.
        compile_seconds: from being handed over to the end of the first call of each batch size,
            the start of processes included.
        sample_answer: an answer to the largest batch, shape `(rows, ...)`.
    """

    replicas: tuple[Target, ...]
    description: str
    remark: str
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

    infer: Infer


@dataclass(frozen=True, slots=True)
class _Resolved:
    replicas: tuple[Target, ...]
    description: str
    remark: str


def placed(target: object, plan: Plan) -> Plan:
    """The plan with a name for each device, as `prepare` needs it.

    Looks which devices are here unless the target is a callable on devices that are named: what
    it runs on is its own affair.

    Raises:
        UsageError: naming a device that is not here.
    """
    from pytest_dlperf.targets import keras
    from pytest_dlperf.targets import local_devices as devices

    names = plan.serving.devices
    compiled = keras.is_model(target) or keras.is_function(target)
    if names is None or (explicit(names) and not compiled):
        return plan
    return replace(plan, serving=replace(plan.serving, devices=devices.resolve(names)))


def prepare(target: object, sample: NDArray[Any], plan: Plan, clock: Clock) -> Prepared:
    """Build and warm the replicas of a target.

    Args:
        target: a Keras model, a `tf.function` or concrete function, an object with a method
            `infer(batch)` and perhaps a text `description`, or a callable `infer(batch)`.
        sample: rows to warm it with, at least one, shape `(rows, ...)`.
        plan: how many replicas, where (of `placed`), the sizes of batches, and who calls.
        clock: time.

    Raises:
        UsageError: if it is none of these, or cannot be where it should.
        TargetError: if its first call fails, does not return, or answers with something that is
            no array.
    """
    started_ns = clock.now_ns()
    patience = plan.compile_timeout
    found = _resolve(target, sample, plan, clock)
    largest = min(plan.served.max_batch_size, len(sample))
    sample_answer = None
    try:
        for replica in dict.fromkeys(found.replicas):
            for size in plan.served.allowed_batch_sizes or powers_of_two(largest):
                sample_answer = _first_call(replica, sample[:size], found.description, patience)
    except BaseException:
        _close(found.replicas)
        raise
    if sample_answer is None:
        raise UsageError("the data has no rows, so there is nothing to ask")
    seconds = (clock.now_ns() - started_ns) * 1e-9
    return Prepared(found.replicas, found.description, found.remark, seconds, sample_answer)


def _close(replicas: Iterable[Target]) -> None:
    for replica in dict.fromkeys(replicas):
        if isinstance(replica, CoroutineTarget | IsolatedTarget):
            replica.close()


def _resolve(target: object, sample: NDArray[Any], plan: Plan, clock: Clock) -> _Resolved:
    from pytest_dlperf.targets import keras

    if keras.is_model(target) or keras.is_function(target):
        return _resolve_compiled(target, sample, plan, clock)
    return _resolve_callable(target, plan)


def _resolve_compiled(target: object, sample: NDArray[Any], plan: Plan, clock: Clock) -> _Resolved:
    from pytest_dlperf.targets import keras

    name, serving = keras.name_of(target), plan.served
    if plan.clients == "async":
        raise UsageError(
            f"dlperf(target): clients='async' with {name}",
            "it answers at once; clients='threads' calls it with one row at a time",
        )
    # Replicas on one device share its weights; threads that are clients share all there is.
    places: tuple[str | None, ...] = tuple(serving.devices or ())
    if not places:
        places = (None,) * (serving.replicas if plan.clients == "virtual" else 1)
    try:
        if serving.intra_op_threads is not None:
            isolated, text = isolate(target, sample, plan, serving.intra_op_threads, clock)
            return _Resolved(isolated, text, "")
        compiled = [keras.compile_target(target, sample, plan, clock, one) for one in places]
    except (TargetError, UsageError):
        raise
    except Exception as error:
        raise TargetError(
            f"{name} could not be compiled for inputs of shape "
            f"(batch, {', '.join(map(str, sample.shape[1:]))}) and type {sample.dtype}: "
            f"{kind_of(error)}: {error}"
        ) from error
    where = f" on {', '.join(serving.devices)}" if serving.devices else ""
    batches = " or ".join(dict.fromkeys(one.batches for one in compiled))
    remark = "; ".join(dict.fromkeys(one.remark for one in compiled if one.remark))
    replicas = tuple(islice(cycle(compiled), plan.lanes))
    return _Resolved(replicas, f"{name}{where}, {batches}", remark)


def _resolve_callable(target: object, plan: Plan) -> _Resolved:
    serving, clients = plan.served, plan.clients
    infer = _callable(target, clients)
    if serving.intra_op_threads is not None:
        raise UsageError(
            f"{serving} needs a Keras model or a tf.function, which can be sent to a process of "
            f"its own; {target!r:.80} cannot",
            "set the threads in the runtime that the callable uses",
        )
    description = getattr(target, "description", None)
    if not isinstance(description, str) or not description:
        description = f"callable {getattr(infer, '__qualname__', type(infer).__qualname__)}"
    remark = ""
    if serving.devices:
        where = ", ".join(serving.devices)
        remark = f"the target places itself: that it ran on {where} was not verified"
    # A method `infer` takes batches by its name; a function takes what its clients have.
    takes_rows = infer is target and clients != "virtual"
    if clients == "async":
        ask = one_row(infer) if takes_rows else infer
        asked = CoroutineTarget(ask, EventLoop(asyncio.new_event_loop()))
        return _Resolved((asked,), description, remark)
    if takes_rows:
        infer = _one_row(infer)
    elif serving.allowed_batch_sizes:
        infer = padded(infer, serving.allowed_batch_sizes)
        description += f", {padding_words(serving.allowed_batch_sizes)}"
    return _Resolved((CallableTarget(infer),) * plan.lanes, description, remark)


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


def _first_call(
    replica: Target, batch: NDArray[Any], description: str, seconds: float
) -> NDArray[Any]:
    __tracebackhide__ = True
    failed = (
        f"{description} failed on its first call, with a batch of shape {batch.shape} and "
        f"type {batch.dtype}"
    )
    try:
        outputs = np.array(call_with_timeout(seconds, lambda: replica.infer(batch)))
    except UsageError:
        raise
    except RemoteError as error:
        raise TargetError(f"{failed}: {error}\n  {_CHECK_SERVER}") from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is passed on in words
        trace = error.__traceback__
        raise TargetError(f"{failed}: {kind_of(error)}: {error}") from (
            error if trace and trace.tb_next else None  # frames of the target, if it has any
        )
    if outputs.dtype.kind not in "biuf" or not outputs.size or not outputs.ndim:
        raise TargetError(
            f"{description} answered with {outputs.dtype} of shape {outputs.shape}; "
            "expected one numeric array with one row a request"
        )
    return outputs
