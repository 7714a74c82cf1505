"""Yardstick: one figure for the machine's speed, and none where nothing would need it."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FakeClock

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.measure.yardstick import Yardstick, reference_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _timed(clock: FakeClock, calls_ns: Iterator[int]) -> Callable[[], object]:
    def call() -> None:
        clock.now += next(calls_ns)

    return call


def _steady(call_ns: int) -> Iterator[int]:
    while True:
        yield call_ns


def test_seconds_a_request() -> None:
    """The time of a call over its 64 requests."""
    clock = FakeClock()
    yardstick = Yardstick(clock, lambda: _timed(clock, _steady(640_000)))

    assert yardstick.seconds() == pytest.approx(10e-6)


def test_the_best_slot_counts() -> None:
    """A temporary disturbance does not change the result."""
    clock = FakeClock()

    def calls() -> Iterator[int]:
        yield from [640_000] * 400
        while True:
            yield 6_400_000

    yardstick = Yardstick(clock, lambda: _timed(clock, calls()))

    assert yardstick.seconds() == pytest.approx(10e-6)
    assert yardstick.seconds() == pytest.approx(100e-6)


def test_made_once_it_can_be() -> None:
    """The benchmark is made at the first call at which it can be, and only once."""
    clock = FakeClock()
    made: list[int] = []

    def make() -> Callable[[], object] | None:
        made.append(1)
        return _timed(clock, _steady(640_000)) if len(made) > 1 else None

    yardstick = Yardstick(clock, make)

    assert yardstick.seconds() is None
    assert yardstick.seconds() is not None
    assert yardstick.seconds() is not None
    assert len(made) == 2


def test_it_takes_a_third_of_a_second() -> None:
    """It takes 0.3 s, plus 0.2 s at first."""
    clock = FakeClock()
    yardstick = Yardstick(clock, lambda: _timed(clock, _steady(100_000)))
    yardstick.seconds()
    before = clock.now

    yardstick.seconds()

    assert clock.now - before <= 310_000_000


def test_tensorflow_is_not_loaded_for_it() -> None:
    """Where no test has loaded TensorFlow there is no yardstick."""
    code = (
        "import sys; from pytest_dlperf.measure.yardstick import reference_call; "
        "assert reference_call() is None; assert 'tensorflow' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own


@pytest.mark.tensorflow
def test_the_real_one_leaves_random_numbers_alone() -> None:
    """It answers, takes some microseconds a request, and leaves all random generators alone."""
    import tensorflow as tf

    tf.random.set_seed(1)
    wanted = tf.random.uniform(()).numpy()
    tf.random.set_seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002 - the user's

    call = reference_call()
    assert call is not None
    answers = call()

    assert np.asarray(answers).sum(axis=1) == pytest.approx(np.ones(64))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002
    assert tf.random.uniform(()).numpy() == wanted
    assert (Yardstick(MonotonicClock()).seconds() or 0.0) > 0
