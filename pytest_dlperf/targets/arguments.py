"""How a batch with several inputs is handed to a function: as a whole, by name or by place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.trees import Tree


def parameters_of(function: Callable[..., Any]) -> list[str]:
    """The names of what a function takes; empty if they cannot be told."""
    try:
        taken = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [each.name for each in taken if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}]


def as_type(values: NDArray[Any], dtype: Any, where: str) -> NDArray[Any]:  # noqa: ANN401 - a type
    """The values in the type that a runtime takes; a UsageError if whole numbers would change."""
    if values.dtype == dtype:
        return np.ascontiguousarray(values)
    with np.errstate(invalid="ignore"):
        converted: NDArray[Any] = np.ascontiguousarray(values, dtype)
        kept = converted.dtype.kind not in "iub" or np.array_equal(converted, values)
    if not kept:
        raise UsageError(
            f"{where}: it takes {converted.dtype}, which cannot hold values of the data, which are "
            f"{values.dtype}",
            "give data of the type and range that the model was made for",
        )
    return converted


def taking_batches(
    function: Callable[..., Any], names: Sequence[str], inputs: Tree
) -> Callable[[Any], Any]:
    """The function as one of a whole batch.

    Args:
        function: takes the batch, or each of its inputs by itself.
        names: of its parameters.
        inputs: like those of the batches to come.
    """
    if isinstance(inputs, Mapping):
        given = set(inputs)
        if given == set(names) or (given < set(names) and len(names) > 1):
            return lambda batch: function(**batch)
    if isinstance(inputs, list | tuple) and 1 < len(inputs) <= len(names):
        return lambda batch: function(*batch)
    return function
