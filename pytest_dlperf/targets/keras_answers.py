"""What a Keras model answers, while it trains and after."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import DlperfError, TargetError
from pytest_dlperf.targets.keras import name_of, trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.targets.keras import Model

_ASKED: Final = 256  # rows of a batch
_LONGEST: Final = 300
_COLOUR: Final = re.compile("\x1b\\[[0-9;]*m")


def answers(model: Model, inputs: NDArray[Any]) -> NDArray[Any]:
    """What a model answers, shape `(rows, ...)`.

    Raises:
        UsageError: if it has several outputs.
        TargetError: if it does not take such rows.
    """
    return answerer(model, inputs[:1])(inputs)


def answerer(model: Model, sample: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Asks a model, each time with the weights that it has then; it is traced once.

    Args:
        model: with one output.
        sample: at least one row of what it will be asked.

    Raises:
        UsageError: if it has several outputs.
        TargetError: if it does not take such rows.
    """
    import tensorflow as tf

    try:
        concrete = trace(model, sample)
    except DlperfError:
        raise
    except Exception as error:
        raise TargetError(
            f"{name_of(model)} does not take rows of shape {sample.shape[1:]} and type "
            f"{sample.dtype}: {said_by_keras(error)}"
        ) from error

    def asked(inputs: NDArray[Any]) -> NDArray[Any]:
        batches = range(0, len(inputs), _ASKED)
        parts = [concrete(tf.convert_to_tensor(inputs[n : n + _ASKED])).numpy() for n in batches]
        return np.concatenate(parts)

    return asked


def said_by_keras(error: Exception) -> str:
    """What an exception of Keras' says, without the colours and breaks that Keras puts in."""
    said = " ".join(_COLOUR.sub("", str(error)).split())
    return f"{type(error).__name__}: {said}"[:_LONGEST]
