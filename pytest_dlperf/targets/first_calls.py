"""The first calls of a target: one of each batch size, which show how its answers are laid out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.errors import RemoteError, TargetError, UsageError, message_of
from pytest_dlperf.load.answer_layout import AnswerLayout, layout_of
from pytest_dlperf.load.answer_leaves import MisfitError, has_values
from pytest_dlperf.load.answer_tree import Sample
from pytest_dlperf.load.async_runner import CoroutineTarget
from pytest_dlperf.load.outputs import describe_outputs, owned_copy, read_outputs
from pytest_dlperf.targets.process_replica import IsolatedTarget
from pytest_dlperf.targets.users_frames import cause_in_users_code, in_users_code
from pytest_dlperf.trees import described, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.load.answer_layout import Output
    from pytest_dlperf.load.runner import Target
    from pytest_dlperf.trees import Rows, Tree

_OF_ONE_THREAD: Final = (
    "the same call works in the test's own thread: what holds for one thread, such as "
    "torch.no_grad(), must be entered inside of the callable"
)
_BATCH_AXIS: Final = (
    "answers keep the batch axis, for a batch of one row too; a function that takes one row "
    "without it is called with clients='threads'"
)
_BUILDS: Final = (
    "it is called with a batch; of a function that builds a model, give what it returns"
)
_TAKES_NOTHING: Final = re.compile(  # of a function, or of a method beside its object
    r"takes 0 positional arguments|\w\.\w+\(\) takes 1 positional argument but 2 "
)
_CHECK_SERVER: Final = (
    "check that the server runs and has loaded the model, and that the URL and the model's name "
    "are right"
)


def first_calls(
    replicas: Iterable[Target], description: str, sample: Rows, sizes: Iterable[int], timeout: float
) -> list[Sample]:
    """The answers of each replica to a batch of each size."""
    __tracebackhide__ = True
    return [
        _first_call(replica, sample[:size], description, timeout)
        for replica in dict.fromkeys(replicas)
        for size in sizes
    ]


def layout_of_target(
    samples: list[Sample], description: str, output: Output | None
) -> AnswerLayout:
    """How a target lays out its answers; raises TargetError and UsageError as `layout_of` does."""
    __tracebackhide__ = True
    try:
        return layout_of(samples, output)
    except MisfitError as error:
        raise TargetError(
            f"{description} lays its answers out differently for batches of "
            f"{', '.join(str(sample.rows) for sample in samples)} rows: it {error}"
        ) from None


def _answers_here(replica: Target, batch: Tree, error: Exception) -> bool:
    """Whether a target that failed in a thread of the load answers in the caller's thread."""
    if isinstance(error, Warning) or isinstance(replica, CoroutineTarget | IsolatedTarget):
        return False  # a warning is raised once; the others have one thread for all calls
    try:
        read_outputs(replica.infer(batch))
    except Exception:  # noqa: BLE001 - the target may raise anything
        return False
    return True


def _first_call(replica: Target, batch: Tree, description: str, timeout: float) -> Sample:
    __tracebackhide__ = True

    def answer() -> tuple[object, object]:
        __tracebackhide__ = True
        returned = replica.infer(batch)
        return returned, read_outputs(returned)

    failed = f"{description} failed on its first call, with a batch of {_batch(batch)}"
    try:
        returned, read = call_with_timeout(timeout, answer)
    except UsageError:
        raise
    except RemoteError as error:
        # An error with a hint of its own knows better.
        hint = "" if "\n" in str(error) else f"\n  {_CHECK_SERVER}"
        cause = error.__cause__  # of the user's own encode= or decode=
        users = cause_in_users_code(cause) if isinstance(cause, Exception) else None
        raise TargetError(f"{failed}: {error}{hint}") from users
    except Exception as error:  # noqa: BLE001 - the target may raise anything
        of_this_thread = f"\n  {_OF_ONE_THREAD}" if _answers_here(replica, batch, error) else ""
        hint = of_this_thread or _hint_on_builder(error)
        raise TargetError(f"{failed}: {message_of(error)}{hint}") from cause_in_users_code(error)
    rows = rows_of(batch)
    # A copy, as the target may reuse its buffer for the next size.
    sample = Sample(owned_copy(read), rows)
    problem = ""
    try:
        layout = layout_of([sample])
        if layout.paths and any(map(has_values, layout.parts(sample.outputs, rows))):
            return sample
    except UsageError:
        return sample  # batches of other sizes may tell rows from outputs
    except MisfitError as error:
        problem = f": {error}" if isinstance(read, Mapping | tuple) else ""
    raise TargetError(
        f"{description} answered a batch of {rows} row{'s' * (rows > 1)} with "
        f"{describe_outputs(returned)}{problem}; expected an array with one row a request, shape "
        f"({rows}, ...), or a dict, list or tuple of such arrays{_hint(returned, read)}"
    )


def _hint_on_builder(error: Exception) -> str:
    # With a frame of the user's, it is a call within the target that has too many arguments.
    counted = isinstance(error, TypeError) and _TAKES_NOTHING.search(str(error))
    return f"\n  {_BUILDS}" if counted and not in_users_code(error) else ""


def _batch(batch: Tree) -> str:
    if isinstance(batch, np.ndarray):
        return f"shape {batch.shape} and type {batch.dtype}"
    return described(batch)


def _hint(returned: object, read: object) -> str:
    numbers = isinstance(read, np.ndarray) and read.dtype.kind in "biuf" and read.size > 0
    for applies, hint in (
        (returned is None, "does the callable return its answer?"),
        (callable(returned), _BUILDS),
        (inspect.isawaitable(returned), "a coroutine function is called with clients='async'"),
        (isinstance(returned, Iterator), "list(...) makes values of it"),
        (numbers, _BATCH_AXIS),
    ):
        if applies:
            return f"\n  {hint}"
    return ""
