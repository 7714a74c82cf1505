"""Yardstick: a fixed small model, measured beside every test, that says how fast the machine is.

It has the architecture of the reference model and random weights. No module of the package is
imported for it but numpy, and TensorFlow not at all: a session that has no use for it must not
wait for it, and one whose tests never loaded it has no model whose speed it would tell.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock

_FEATURES: Final = 64
_UNITS: Final = 512
_CLASSES: Final = 10
_BATCH: Final = 64
_SLOTS: Final = 6
_SLOT_NS: Final = 50_000_000
_WARM_UP_NS: Final = 200_000_000


class Yardstick:
    """Measures the reference model; makes it when it is first asked.

    Args:
        clock: time.
        make: makes something to call once a batch, or None while there is nothing to make it of.
    """

    def __init__(
        self, clock: Clock, make: Callable[[], Callable[[], object] | None] | None = None
    ) -> None:
        self._clock = clock
        self._make = make or reference_call
        self._call: Callable[[], object] | None = None

    def seconds(self) -> float | None:
        """Seconds a request, in the best of a few slots; takes about 0.3 s.

        The best of several short ones: what else the machine does now and then is not its speed.

        Returns:
            None if TensorFlow is not loaded.
        """
        if self._call is None:
            self._call = self._make()
            if self._call is None:
                return None
            self._slot(self._call, _WARM_UP_NS)
        call = self._call
        return min(self._slot(call, _SLOT_NS) for _ in range(_SLOTS)) / _BATCH

    def _slot(self, call: Callable[[], object], length_ns: int) -> float:
        """Seconds a call, over as many as begin in so long."""
        calls, start_ns = 0, self._clock.now_ns()
        now_ns = start_ns
        while now_ns - start_ns < length_ns:
            call()
            calls += 1
            now_ns = self._clock.now_ns()
        return (now_ns - start_ns) * 1e-9 / calls


def reference_call() -> Callable[[], object] | None:
    """A call of Dense 512 relu, Dense 10 softmax on 64 rows; None if TensorFlow is not loaded.

    The generators of random numbers that tests use stay as they are.
    """
    tf: Any = sys.modules.get("tensorflow")
    if tf is None:
        return None
    random = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.05, shape).astype(np.float32)

    first, second = tf.constant(normal(_FEATURES, _UNITS)), tf.constant(normal(_UNITS, _CLASSES))
    batch = normal(_BATCH, _FEATURES)

    def answer(inputs: object) -> object:
        return tf.nn.softmax(tf.matmul(tf.nn.relu(tf.matmul(inputs, first)), second))

    function = tf.function(answer, autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec((None, _FEATURES), tf.float32))
    return lambda: concrete(tf.convert_to_tensor(batch)).numpy()
