"""Target: what is measured, brought to one shape: `infer(batch) -> outputs`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pytest_dlperf.errors import DlperfError, RemoteError, TargetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.core.serving import Serving
    from pytest_dlperf.engine.clock import Clock

_CHECK_SERVER: Final = (
    "check that the server runs and has loaded the model, and that the URL and the model's name "
    "are right"
)


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
        compile_seconds: from being handed over to the end of the first call of each batch size.
        sample_answer: an answer to the largest batch, shape `(rows, ...)`.
    """

    replicas: tuple[Target, ...]
    description: str
    compile_seconds: float
    sample_answer: NDArray[Any]


@dataclass(frozen=True, slots=True)
class CallableTarget:
    """A plain callable `infer(batch)`, numpy in and numpy out."""

    infer: Callable[[NDArray[Any]], object]


def prepare(target: object, sample: NDArray[Any], serving: Serving, clock: Clock) -> Prepared:
    """Build and warm the replicas of a target.

    Args:
        target: a Keras model, a `tf.function` or concrete function, an object with a method
            `infer(batch)` and perhaps a text `description`, or a callable `infer(batch)`.
        sample: rows to warm it with, at least one, shape `(rows, ...)`.
        serving: how many replicas, and the largest batch.
        clock: time.

    Raises:
        UsageError: if it is none of these.
        TargetError: if its first call fails or answers with something that is no array.
    """
    started_ns = clock.now_ns()
    replicas, description = _resolve(target, sample, serving, clock)
    sample_answer = None
    for replica in replicas:
        for size in _batch_sizes(min(serving.max_batch_size, len(sample))):
            sample_answer = _first_call(replica, sample[:size], description)
    if sample_answer is None:
        raise UsageError("the data has no rows, so there is nothing to ask")
    seconds = (clock.now_ns() - started_ns) * 1e-9
    return Prepared(replicas, description, seconds, sample_answer)


def _resolve(
    target: object, sample: NDArray[Any], serving: Serving, clock: Clock
) -> tuple[tuple[Target, ...], str]:
    from pytest_dlperf.engine import keras

    if keras.is_model(target) or keras.is_function(target):
        try:
            compiled = [
                keras.compile_target(target, sample, serving.max_batch_size, clock)
                for _ in range(serving.replicas)
            ]
        except DlperfError:
            raise
        except Exception as error:
            raise TargetError(
                f"{keras.name_of(target)} could not be compiled for inputs of shape "
                f"(batch, {', '.join(map(str, sample.shape[1:]))}) and type {sample.dtype}: "
                f"{type(error).__name__}: {error}"
            ) from error
        return tuple(compiled), compiled[0].description
    infer = getattr(target, "infer", target)
    if not callable(infer):
        raise UsageError(
            f"dlperf(target): {target!r:.80} cannot be measured",
            "expected a Keras model, a tf.function, or a callable infer(batch) -> outputs",
        )
    if isinstance(target, type) or inspect.iscoroutinefunction(infer):
        kind = "a class" if isinstance(target, type) else "a coroutine function"
        raise UsageError(
            f"dlperf(target): {target!r:.80} is {kind}",
            "expected a plain callable infer(batch) -> outputs",
        )
    description = getattr(target, "description", None)
    if not isinstance(description, str) or not description:
        description = f"callable {getattr(infer, '__qualname__', type(infer).__qualname__)}"
    return (CallableTarget(infer),) * serving.replicas, description


def _batch_sizes(largest: int) -> list[int]:
    sizes = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    return [*sizes, largest] if largest else []


def _first_call(replica: Target, batch: NDArray[Any], description: str) -> NDArray[Any]:
    __tracebackhide__ = True
    failed = (
        f"{description} failed on its first call, with a batch of shape {batch.shape} and "
        f"type {batch.dtype}"
    )
    try:
        outputs = np.array(replica.infer(batch))
    except UsageError:
        raise
    except RemoteError as error:
        raise TargetError(f"{failed}: {error}\n  {_CHECK_SERVER}") from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is passed on in words
        trace = error.__traceback__
        raise TargetError(f"{failed}: {type(error).__name__}: {error}") from (
            error if trace and trace.tb_next else None  # frames of the target, if it has any
        )
    if outputs.dtype.kind not in "biuf" or not outputs.size or not outputs.ndim:
        raise TargetError(
            f"{description} answered with {outputs.dtype} of shape {outputs.shape}; "
            "expected one numeric array with one row a request"
        )
    return outputs
