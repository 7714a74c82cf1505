"""Tracings: which `tf.function`s were traced again while they were measured."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from typing import Any


class Tracings:
    """How often each `tf.function` of this process was traced; never imports TensorFlow.

    Functions are found among the objects of the garbage collector, so also those that a callable
    hides. Make it before `gc.freeze`, which hides objects from the search.
    """

    def __init__(self) -> None:
        self._functions: dict[int, Any] = {}
        self._search()

    def count(self) -> Counter[str]:
        """Traces so far, by the function's name; those of functions made meanwhile included."""
        self._search()
        counts: Counter[str] = Counter()
        for function in self._functions.values():
            counts[function.python_function.__name__] += function.experimental_get_tracing_count()
        return counts

    def _search(self) -> None:
        module = sys.modules.get("tensorflow")
        if module is None:
            return
        kind = module.types.experimental.PolymorphicFunction
        objects = gc.get_objects()
        # By type: isinstance() would run code of whatever object it is asked about.
        types = {one for one in set(map(type, objects)) if issubclass(one, kind)}
        found = [one for one in objects if type(one) in types]
        self._functions.update((id(function), function) for function in found)
