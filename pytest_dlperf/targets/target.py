"""Brings every kind of target to the interface `infer(batch) -> outputs`, and warms it up."""

from __future__ import annotations

import asyncio
import inspect
import re
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from pytest_dlperf._values import explicit
from pytest_dlperf.errors import TargetError, UsageError, message_of
from pytest_dlperf.load.async_runner import CoroutineTarget, EventLoop, one_row
from pytest_dlperf.load.outputs import (
    with_batch_axis,
)
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.targets import keras, torch_modules
from pytest_dlperf.targets.first_calls import first_calls, layout_of_target
from pytest_dlperf.targets.grouping import grouped, length_groups
from pytest_dlperf.targets.keras_inputs import check_inputs
from pytest_dlperf.targets.kinds import kind_of_target
from pytest_dlperf.targets.padding import Infer, padded, padding_words, powers_of_two
from pytest_dlperf.targets.process_replica import IsolatedTarget, isolate
from pytest_dlperf.targets.users_frames import cause_in_users_code
from pytest_dlperf.trees import RowTree, as_tree, described, leaves, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.options import Clients
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.load.answer_layout import AnswerLayout
    from pytest_dlperf.load.answer_leaves import Leaf
    from pytest_dlperf.load.runner import Target
    from pytest_dlperf.targets.kinds import Kind
    from pytest_dlperf.trees import Rows, Tree


@dataclass(frozen=True, slots=True)
class Prepared:
    """A target that is ready for load.

    Attributes:
        replicas: one target for each replica.
        description: the target in words.
        remark: a warning about it; may be empty.
        compile_seconds: until the first call of each batch size has returned, the start of
            processes included.
        layout: of its answers.
        sample_parts: the outputs of the answer to the largest batch.
    """

    replicas: tuple[Target, ...]
    description: str
    remark: str
    compile_seconds: float
    layout: AnswerLayout
    sample_parts: tuple[Leaf, ...]

    @property
    def processes(self) -> tuple[int, ...]:
        """The ids of the replicas' own processes."""
        return tuple(
            replica.worker.pid for replica in self.replicas if isinstance(replica, IsolatedTarget)
        )

    def close(self) -> None:
        """End the replicas' processes and event loops."""
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
    """The plan with each device by name, as `prepare` needs it.

    A callable chooses its own device: devices that are named for it are not looked up.
    """
    from pytest_dlperf.targets.local_devices import resolve

    names, kind = plan.serving.devices, kind_of_target(target)
    if names is None or (explicit(names) and kind is None):
        return plan
    present = () if kind is None else kind.devices_here()
    devices = resolve(names, present=present)
    return replace(plan, serving=replace(plan.serving, devices=devices))


def batches_of(target: object, plan: Plan) -> Plan:
    """The plan with the only batch size that a target takes, such as an export with a batch of 8.

    Raises:
        UsageError: if the plan asks for others.
    """
    kind = kind_of_target(target)
    size = None if kind is None else kind.batch_size(target)
    if kind is None or size is None:
        return plan
    serving, ordinary = plan.serving, Serving()
    asked = serving.max_batch_size
    if serving.allowed_batch_sizes not in {None, (size,)} or asked not in {
        size,
        ordinary.max_batch_size,
    }:
        raise UsageError(
            f"{kind.name_of(target)} takes batches of {size} only, not {serving}",
            f"leave both sizes out, or set Serving(max_batch_size={size})",
        )
    fixed = replace(serving, max_batch_size=size, allowed_batch_sizes=(size,))
    return replace(plan, serving=fixed)


def prepare(target: object, sample: Rows, plan: Plan, clock: Clock) -> Prepared:
    """Build the replicas of a target and warm them up.

    Args:
        target: of one of the kinds of `targets.kinds`, an object with a method `infer(batch)` and
            perhaps a text `description`, or a callable `infer(batch)`.
        sample: rows for the first calls, at least one.
        plan: replicas, devices (see `placed`), batch sizes and kind of clients.
        clock: time.

    Raises:
        UsageError: if it is none of these, or cannot be placed as planned.
        TargetError: if its first call fails, does not return, or returns no row for each request.
    """
    from pytest_dlperf.targets.keras_models import eager_models, remark_on_eager

    started_ns = clock.now_ns()
    kind = kind_of_target(target)
    if kind is not None:
        resolved = _resolve_compiled(kind, target, sample, plan, clock)
    else:
        resolved = _resolve_callable(target, plan)
    if plan.served.group_by_length:
        resolved = _grouped(resolved, sample)
    largest = min(plan.served.max_batch_size, len(sample))
    sizes = plan.served.allowed_batch_sizes or powers_of_two(largest)
    if not sizes:
        raise UsageError("the data has no rows, so there is nothing to ask")
    try:
        with eager_models() as eager:
            samples = first_calls(
                resolved.replicas, resolved.description, sample, sizes, plan.compile_timeout
            )
        layout = layout_of_target(samples, resolved.description, plan.output)
        parts = layout.parts(samples[-1].outputs, samples[-1].rows)
    except BaseException:
        _close(resolved.replicas)
        raise
    seconds = (clock.now_ns() - started_ns) * 1e-9
    remark = "; ".join(filter(None, (resolved.remark, remark_on_eager(eager))))
    return Prepared(resolved.replicas, resolved.description, remark, seconds, layout, parts)


def _grouped(resolved: _Resolved, sample: Rows) -> _Resolved:
    """The replicas with their calls split by the lengths of rows."""
    try:
        groups = length_groups(sample)
    except UsageError:
        _close(resolved.replicas)
        raise
    by_length = {
        replica: replace(replica, infer=grouped(replica.infer, groups))  # type: ignore[type-var]
        for replica in dict.fromkeys(resolved.replicas)
    }
    description = f"{resolved.description}, rows grouped by length"
    replicas = tuple(by_length[replica] for replica in resolved.replicas)
    return replace(resolved, replicas=replicas, description=description)


def _close(replicas: Iterable[Target]) -> None:
    for replica in dict.fromkeys(replicas):
        if isinstance(replica, CoroutineTarget | IsolatedTarget):
            replica.close()


def _resolve_compiled(
    kind: Kind, target: object, sample: Rows, plan: Plan, clock: Clock
) -> _Resolved:
    name, serving = kind.name_of(target), plan.served
    if plan.clients == "async":
        raise UsageError(
            f"dlperf(target): clients='async' with {name}",
            "it answers at once; clients='threads' calls it with one row at a time",
        )
    # Replicas on one device share its weights; client threads share one compiled function.
    devices: tuple[str | None, ...] = tuple(serving.devices or ())
    if not devices:
        devices = (None,) * (serving.replicas if plan.clients == "virtual" else 1)
    if serving.intra_op_threads is not None and kind is not keras:
        raise UsageError(
            f"{serving} needs a model or function of TensorFlow; {name} is none",
            "set the threads by the framework's own means before the test",
        )
    check_inputs(name, target, as_tree(sample))
    try:
        if serving.intra_op_threads is not None:
            isolated, description = isolate(target, sample, plan, serving.intra_op_threads, clock)
            return _Resolved(isolated, description, "")
        compiled = [kind.compile_target(target, sample, plan, clock, device) for device in devices]
    except (TargetError, UsageError):
        raise
    except Exception as error:  # noqa: BLE001 - the framework may raise anything
        raise TargetError(
            f"{name} could not be compiled for {_inputs(sample)}: {message_of(error)}"
            f"{_hint_on_layer(error, target)}{_hint_on_type(error, sample)}"
        ) from cause_in_users_code(error)
    where = f" on {', '.join(serving.devices)}" if serving.devices else ""
    batches = " or ".join(dict.fromkeys(replica.batches for replica in compiled))
    remark = "; ".join(dict.fromkeys(replica.remark for replica in compiled if replica.remark))
    replicas = tuple(islice(cycle(compiled), plan.lanes))
    return _Resolved(replicas, f"{name}{where}, {batches}", remark)


def _hint_on_layer(error: Exception, target: object) -> str:
    layer = torch_modules.layer_of(error, target)
    return f"\n  {layer}" if layer else ""


def _hint_on_type(error: Exception, sample: Rows) -> str:
    types = {str(leaf.dtype) for _, leaf in leaves(as_tree(sample))}
    if "float64" in types and re.search(r"\b(Double|double|float64|F64|f64)\b", str(error)):
        return '\n  the data is float64, as NumPy makes it: give .astype("float32")'
    return ""


def _inputs(sample: Rows) -> str:
    if isinstance(sample, RowTree):
        return f"inputs of {described(sample.tree)}"
    shape = ", ".join(map(str, sample.shape[1:]))
    return f"inputs of shape (batch, {shape}) and type {sample.dtype}"


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
    # A method `infer` takes batches by convention; a function takes what its clients send.
    takes_rows = infer is target and clients != "virtual"
    if clients == "async":
        coroutine = one_row(infer) if takes_rows else infer
        replica = CoroutineTarget(coroutine, EventLoop(asyncio.new_event_loop()))
        return _Resolved((replica,), description, remark)
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
        getattr(infer, "__call__", None)  # noqa: B004 - an object with a coroutine __call__
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


def _one_row(function: Infer) -> Infer:
    def infer(batch: Tree) -> object:
        return with_batch_axis(function(mapped(lambda leaf: leaf[0], batch)))

    return infer
