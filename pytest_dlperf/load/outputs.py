"""What a target returned, read into numpy while the clock of its call still runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from pytest_dlperf.load.answer_leaves import is_numeric
from pytest_dlperf.trees import leaves, mapped

_SHOWN: Final = 4  # outputs by name, or lengths of rows
_OWN_REFERENCES: Final = 2  # of the list or dict that holds an array, and of `getrefcount`


def read_outputs(outputs: object) -> object:
    """The outputs as a complete numpy array, or a tree of such arrays.

    Lists and tuples are trees if all of their items have rows, or are dicts, else they are rows
    themselves. A ragged tensor of TensorFlow is a list of rows. What numpy cannot convert is
    returned as it is.

    JAX arrays, tensors on a GPU and futures are handles of a computation that may still run: only
    reading them waits for it.

    Args:
        outputs: what a target returned.

    Raises:
        Exception: whatever the outputs raise when they are read.
    """
    __tracebackhide__ = True
    if isinstance(outputs, np.ndarray):
        return outputs
    if isinstance(outputs, Mapping):
        return {name: read_outputs(part) for name, part in outputs.items()}
    if isinstance(outputs, list | tuple) and outputs and all(map(_is_part, outputs)):
        parts = [read_outputs(part) for part in outputs]
        return parts if isinstance(outputs, list) else tuple(parts)
    # By name: to ask a tensor for an attribute that it has not takes TensorFlow a microsecond.
    if type(outputs).__name__ == "RaggedTensor":
        return _ragged_rows(outputs)
    to_cpu = getattr(outputs, "cpu", None)
    if callable(to_cpu):
        tensor: Any = to_cpu()  # PyTorch does not convert tensors of other devices
        # Nor of a type that numpy does not have.
        outputs = (
            tensor.float() if str(getattr(tensor, "dtype", "")) == "torch.bfloat16" else tensor
        )
    try:
        return np.asarray(outputs)
    except (TypeError, ValueError):
        if isinstance(outputs, list | tuple):
            return outputs  # rows of different lengths: reported as an answer of the wrong shape
        raise


def _ragged_rows(outputs: Any) -> list[Any]:  # noqa: ANN401 - tf.RaggedTensor, not imported
    if outputs.ragged_rank > 1:
        rows: list[Any] = outputs.to_list()
        return rows
    splits = np.asarray(outputs.row_splits)
    return np.split(np.asarray(outputs.flat_values), splits[1:-1]) if len(splits) > 1 else []


def _is_part(item: object) -> bool:
    """Whether an item of a list is read by itself: a dict, as that of one row, or an output."""
    return isinstance(item, Mapping) or _has_rows(item)


def _has_rows(part: object) -> bool:
    """Whether this is an array, of whichever framework, or a tree of arrays."""
    if isinstance(part, Mapping):
        return all(map(_has_rows, part.values()))
    if isinstance(part, list | tuple):
        return bool(part) and all(map(_has_rows, part))
    return len(getattr(part, "shape", ())) > 0


def owned(held: list[object]) -> bool:
    """Whether an answer is an array to which nothing else refers, or a dict of such arrays.

    A target that keeps its buffer holds a reference to it, or returned a view.

    Args:
        held: the answer as the only element; no other name of the caller's may refer to it.
    """
    if sys.getrefcount(held[0]) > _OWN_REFERENCES:
        return False
    if isinstance(held[0], np.ndarray):
        return held[0].base is None
    named = held[0]
    return isinstance(named, dict) and all(
        isinstance(named[name], np.ndarray)
        and named[name].base is None
        and sys.getrefcount(named[name]) <= _OWN_REFERENCES
        for name in named
    )


def owned_copy(outputs: Any) -> Any:  # noqa: ANN401 - a tree
    """A copy of an answer whose arrays nothing else refers to."""
    return mapped(lambda leaf: np.array(leaf) if isinstance(leaf, np.ndarray) else leaf, outputs)


def size_of_outputs(outputs: Any) -> int:  # noqa: ANN401 - a tree
    """Bytes of the arrays of an answer."""
    if isinstance(outputs, np.ndarray):
        return outputs.nbytes
    return sum(leaf.nbytes for _, leaf in leaves(outputs) if isinstance(leaf, np.ndarray))


def describe_outputs(outputs: object) -> str:
    """What a target returned, in words."""
    kind = type(outputs).__name__
    match outputs:
        case None:
            words = "None"
        case str() | bytes():
            words = "text"
        case Mapping():
            words = f"a {kind} of {_listed(outputs)}"
        case list() | tuple():
            words = _sequence(outputs)
        case Iterator():
            words = f"a {kind}, which has no values yet"
        case _ if hasattr(outputs, "shape") and hasattr(outputs, "dtype"):
            words = f"{_name(outputs.dtype)} of shape {_size(outputs.shape)}"
        case _:
            words = f"one {kind}" if np.isscalar(outputs) else f"an object of type {kind}"
    return words


def _name(dtype: object) -> str:
    kind = getattr(dtype, "kind", "")
    return {"O": "objects", "U": "text", "S": "text"}.get(kind, str(dtype))


def _size(shape: Any) -> str:  # noqa: ANN401 - each framework has its own type
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _listed(outputs: Mapping[object, object]) -> str:
    parts = [f"{name!r}: {describe_outputs(value)}" for name, value in outputs.items()]
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return f"{len(parts)} outputs ({'; '.join(parts[:_SHOWN])}{more})"


def _sequence(outputs: list[object] | tuple[object, ...]) -> str:
    kind = "list" if isinstance(outputs, list) else "tuple"
    if all(hasattr(part, "shape") for part in outputs) and outputs:
        shapes = "; ".join(describe_outputs(part) for part in outputs[:_SHOWN])
        more = " ..." if len(outputs) > _SHOWN else ""
        return f"a {kind} of {len(outputs)} array{'s' * (len(outputs) > 1)} ({shapes}{more})"
    lengths = [len(part) for part in outputs if isinstance(part, list | tuple)]
    if len(set(lengths)) > 1:
        return f"a {kind} of rows of different lengths ({', '.join(map(str, lengths[:_SHOWN]))})"
    types = ", ".join(dict.fromkeys(type(part).__name__ for part in outputs[:_SHOWN]))
    return f"a {kind} of {len(outputs)} values" + (f" of type {types}" if types else "")


def with_batch_axis(outputs: object) -> object:
    """What a target returned for one row as the answer to a batch of one.

    Anything but numbers, text and trees of these stays as it is.
    """
    answer = read_outputs(outputs)
    if isinstance(answer, Mapping):
        return {name: with_batch_axis(part) for name, part in answer.items()}
    if isinstance(answer, list | tuple) and answer and all(map(_has_rows, answer)):
        parts = [with_batch_axis(part) for part in answer]
        return parts if isinstance(answer, list) else tuple(parts)
    try:
        array = np.asarray(answer)
    except (TypeError, ValueError):  # rows of different lengths
        return outputs
    known = array.dtype.kind in "US" or is_numeric(array)
    return array[np.newaxis] if known else outputs
