"""User metrics: functions that score the answers to rows, and what they say of some answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import numpy as np

from pytest_dlperf.errors import DlperfError, UsageError
from pytest_dlperf.metrics import Better, Metric, define, find_metric, users_metric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_dlperf.units import Dimension

ScoreFunction: TypeAlias = Callable[..., Any]
"""Outputs `(n, ...)` and labels `(n, ...)` to one score a row, shape `(n,)`."""

F = TypeVar("F", bound=ScoreFunction)

_SHOWN: Final = 200
_EXPECTED: Final = "expected one finite number of at least 0 for each row"

# The functions of the metrics that this process has defined, as `metrics.py` has their names.
_functions: dict[str, ScoreFunction] = {}


def metric(
    unit: Dimension = "share",
    *,
    better: Better = "higher",
    detect: float = 0.01,
    name: str | None = None,
) -> Callable[[F], F]:
    """Make a function a metric that budgets can name: the mean of a score of each answered row.

    The function is called with outputs of shape `(n, ...)` and labels of shape `(n, ...)`, for any
    number of rows at a time, and answers one score a row, shape `(n,)`: finite, at least 0, and of
    a share at most 1. It is measured in every test whose budgets name it. Define it where it is
    imported before tests are collected: in their module, or in a conftest.

    Args:
        unit: of the scores: `"share"`, `"1"`, `"s"`, `"1/s"` or `"bytes"`.
        better: whether `"higher"` or `"lower"` is an improvement.
        detect: the loss that a relative budget must find: a difference of shares (0.01 is one
            point), of anything else a ratio minus one (0.01 is 1 %).
        name: how budgets call it; by default as the function is called.

    Raises:
        UsageError: for a name that is taken or is none, for a property that makes no sense, and
            for a metric that is there already with other properties or of another file.

    >>> @metric(unit="share", better="higher", detect=0.01)
    ... def top1(outputs, labels):
    ...     return outputs.argmax(axis=1) == labels
    """
    __tracebackhide__ = True
    if callable(unit):
        raise UsageError("@metric needs brackets", 'write @dlperf.metric(unit="share")')

    def defined(function: F) -> F:
        __tracebackhide__ = True
        if not callable(function):
            raise UsageError(f"a metric of {function!r:.80}", "expected a function")
        called = name if name is not None else str(getattr(function, "__name__", ""))
        made = users_metric(called, unit, better, detect)
        known = _functions.get(called)
        if known is not None and _file_of(known) != _file_of(function):
            raise UsageError(
                f"metric {called!r} is defined twice: in {_file_of(known)} and in "
                f"{_file_of(function)}",
                "give one of them another name, or import it from one place",
            )
        define(made)
        _functions[called] = function
        return function

    return defined


def _file_of(function: ScoreFunction) -> str:
    """Where a function is from; a module that is imported twice defines the same one again."""
    code = getattr(function, "__code__", None)
    if code is not None:
        return str(code.co_filename)
    return str(getattr(function, "__module__", type(function).__module__))


def user_scores(
    outputs: NDArray[Any], labels: NDArray[Any], names: Iterable[str]
) -> dict[str, NDArray[np.float64]]:
    """What users' metrics say of some answers.

    Args:
        outputs: finite answers, shape `(n, ...)`.
        labels: of the same rows, shape `(n, ...)`.
        names: of the metrics.

    Returns:
        By name, a score of each row, shape `(n,)`.

    Raises:
        UsageError: for a metric that is not defined in this process, whose function raises, or
            answers anything but one score a row.
    """
    __tracebackhide__ = True
    return {name: _scored(name, outputs, labels) for name in names}


def defined_here(name: str) -> Metric:
    """A user's metric that can be measured in this process.

    Raises:
        UsageError: if it is only known from a file.
    """
    __tracebackhide__ = True
    found = find_metric(name)
    if found is None or name not in _functions:
        raise UsageError(
            f"metric {name!r} is not defined here, so it cannot be measured",
            "import the module that has its @pytest_dlperf.metric in the test's, or in a conftest",
        )
    return found


def _scored(name: str, outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    __tracebackhide__ = True
    share, rows = defined_here(name).unit == "share", len(outputs)
    if not rows:
        return np.zeros(0)
    shapes = f"outputs of shape {outputs.shape}, labels of shape {labels.shape}"
    try:
        scores = np.asarray(_functions[name](outputs, labels))
    except DlperfError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:_SHOWN]
        raise UsageError(
            f"metric {name!r}: its function raised {type(error).__name__}: {text}",
            f"it was given {shapes}",
        ) from error
    if scores.shape != (rows,) or scores.dtype.kind not in "biuf":
        raise UsageError(
            f"metric {name!r}: its function answered {scores.dtype}{list(scores.shape)} to "
            f"{rows} row{'s' if rows > 1 else ''}",
            f"{_EXPECTED}, shape ({rows},), for {shapes}",
        )
    found = scores.astype(np.float64)
    bad = ~(np.isfinite(found) & (found >= 0) & ((found <= 1) | (not share)))
    if bad.any():
        one = int(np.flatnonzero(bad)[0])
        most = ", of a share at most 1" if share else ""
        raise UsageError(
            f"metric {name!r}: its function answered {found[one]:g} to a row", _EXPECTED + most
        )
    return found
