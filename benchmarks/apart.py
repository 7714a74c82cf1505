"""A process of its own for every run, so that no peer leaves threads, timers or globals behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_S = 300


def apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `function` returns in a fresh process, without its output and its garbage collector.

    Raises:
        multiprocessing.TimeoutError: if it hangs, or its process dies.
    """
    with multiprocessing.get_context("spawn").Pool(1, initializer=_settle) as pool:
        return pool.apply_async(function, args, kwargs).get(LONGEST_S)


def _settle() -> None:
    gc.disable()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
