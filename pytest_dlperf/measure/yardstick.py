"""The yardstick: a reference benchmark with every measurement, for the speed of the machine.

It is a fixed small model with the architecture of the reference model and random weights. It uses
TensorFlow only if the tests have loaded it: a session without Keras models must not wait for it.
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
_UNITS: Final = 512  # as many as the reference model has
_CLASSES: Final = 10
_BATCH: Final = 64
_SLOTS: Final = 6
_SLOT_NS: Final = 50_000_000  # short, so that the best one was hardly interrupted
_WARM_UP_NS: Final = 200_000_000


class Yardstick:
    """Measures the reference benchmark, which it makes on first use.

    `make` returns the function to call once a batch, or None while that is impossible.
    """

    def __init__(
        self, clock: Clock, make: Callable[[], Callable[[], object] | None] | None = None
    ) -> None:
        self._clock = clock
        self._make = make or reference_call
        self._call: Callable[[], object] | None = None

    def seconds(self) -> float | None:
        """Seconds a request, in the best of a few short slots; None if TensorFlow is not loaded.

        Takes about 0.3 s. The best, because interruptions by other processes do not belong to the
        machine's speed.
        """
        if self._call is None:
            self._call = self._make()
            if self._call is None:
                return None
            self._slot(self._call, _WARM_UP_NS)
        call = self._call
        return min(self._slot(call, _SLOT_NS) for _ in range(_SLOTS)) / _BATCH

    def _slot(self, call: Callable[[], object], length_ns: int) -> float:
        """Mean seconds of the calls that begin within `length_ns`."""
        calls, start_ns = 0, self._clock.now_ns()
        now_ns = start_ns
        while now_ns - start_ns < length_ns:
            call()
            calls += 1
            now_ns = self._clock.now_ns()
        return (now_ns - start_ns) * 1e-9 / calls


def reference_call() -> Callable[[], object] | None:
    """A call of Dense 512 relu, Dense 10 softmax on 64 rows; None if TensorFlow is not loaded.

    Does not touch the random generators that tests may use.
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
