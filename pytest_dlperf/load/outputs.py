"""What a target returned, read into numpy while the clock of its call still runs."""

from __future__ import annotations

import sys
from typing import Final

import numpy as np

_OWN_REFERENCES: Final = 2  # of the list that holds an array, and of `getrefcount`


def read_outputs(outputs: object) -> object:
    """The outputs as a complete numpy array; what numpy cannot convert is returned as it is.

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
    to_cpu = getattr(outputs, "cpu", None)
    if callable(to_cpu):
        outputs = to_cpu()  # PyTorch does not convert tensors of other devices
    try:
        return np.asarray(outputs)
    except (TypeError, ValueError):
        if isinstance(outputs, list | tuple):
            return outputs  # rows of different lengths: reported as an answer of the wrong shape
        raise


def is_shared(held: list[object]) -> bool:
    """Whether the answer is an array to which its target may still write.

    Args:
        held: the answer as the only element; no other name of the caller's may refer to it.
    """
    if not isinstance(held[0], np.ndarray):
        return False
    # A target that keeps its buffer holds a reference to it, or returned a view.
    return held[0].base is not None or sys.getrefcount(held[0]) > _OWN_REFERENCES
