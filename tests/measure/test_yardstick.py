"""Yardstick: the machine's mean pace around a load, and nothing where it would not be needed."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import astuple
from itertools import chain, repeat
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FakeClock

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.measure.yardstick import NO_YARDSTICK, Yardstick, reference_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MS = 1_000_000


def _yardstick(
    clock: FakeClock,
    compute_ns: Iterable[int],
    memory_ns: Iterable[int] = repeat(5 * MS),
    waits_ns: Iterable[int] = repeat(0),
) -> Yardstick:
    """One whose passes take so long, one after the other, and wait for a processor before."""
    processor, waits = FakeClock(), iter(waits_ns)

    def timed(passes_ns: Iterable[int]) -> Callable[[], object]:
        each = iter(passes_ns)

        def call() -> None:
            took_ns = next(each)
            processor.now += took_ns
            clock.now += took_ns + next(waits)

        return call

    parts = timed(compute_ns), timed(memory_ns)
    return Yardstick(clock, processor.now_ns, lambda: parts)


def test_seconds_a_pass() -> None:
    """Each part has its own."""
    yardstick = _yardstick(FakeClock(), repeat(MS), repeat(5 * MS))
    assert yardstick.pace is None

    yardstick.begin()
    yardstick.again()

    assert yardstick.pace is not None
    assert astuple(yardstick.pace) == pytest.approx((1e-3, 5e-3))


def test_what_comes_and_goes_counts() -> None:
    """Seconds over passes, as for a load: half of the time at a tenth of the speed is 1 / 0.55."""
    warm_up, slot = repeat(MS, 10), repeat(MS, 50)
    yardstick = _yardstick(FakeClock(), chain(warm_up, slot, repeat(10 * MS)))

    yardstick.begin()

    assert yardstick.pace is not None
    assert yardstick.pace.compute == pytest.approx(1e-3 / 0.55)


def test_waiting_for_a_processor_does_not_count() -> None:
    """It is no property of the machine, and the load's own is measured while it runs."""
    clock = FakeClock()
    yardstick = _yardstick(clock, repeat(MS), repeat(MS), chain(repeat(0, 30), repeat(9 * MS)))
    began = clock.now

    yardstick.begin()
    yardstick.again()

    assert yardstick.pace is not None
    assert astuple(yardstick.pace) == pytest.approx((1e-3, 1e-3))
    assert clock.now - began <= 400 * MS  # however busy the machine is


def test_a_clock_too_coarse_for_a_slot() -> None:
    """No yardstick is better than a wrong one."""
    clock = FakeClock()

    def call() -> None:
        clock.now += MS

    yardstick = Yardstick(clock, lambda: 0, lambda: (call, call))
    yardstick.begin()

    assert yardstick.pace is None


def test_before_and_after_count_alike() -> None:
    """A machine that became slower during the load was slower for half of it."""
    warm_up, before = repeat(MS, 10), repeat(MS, 100)
    yardstick = _yardstick(FakeClock(), chain(warm_up, before, repeat(2 * MS)))

    yardstick.begin()
    yardstick.again()

    assert yardstick.pace is not None
    assert yardstick.pace.compute == pytest.approx(1e-3 / 0.75)


def test_a_load_that_is_run_again() -> None:
    """What was measured around a load that does not count is dropped."""
    warm_up, first = repeat(MS, 10), repeat(MS, 100)
    yardstick = _yardstick(FakeClock(), chain(warm_up, first, repeat(2 * MS)))

    yardstick.begin()
    yardstick.begin()
    yardstick.again()

    assert yardstick.pace is not None
    assert yardstick.pace.compute == pytest.approx(2e-3)


def test_it_takes_a_third_of_a_second_in_all() -> None:
    """Before and after together, on a machine where making the parts takes no time."""
    clock = FakeClock()
    yardstick = _yardstick(clock, repeat(MS // 10), repeat(MS))
    began = clock.now

    yardstick.begin()
    yardstick.again()

    assert clock.now - began <= 330 * MS


def test_its_memory_is_not_kept() -> None:
    """The parts are made anew each time, so that a target's peak memory is its own."""
    made: list[int] = []
    clock = FakeClock()

    def parts() -> tuple[Callable[[], object], Callable[[], object]]:
        made.append(1)

        def call() -> None:
            clock.now += MS

        return call, call

    yardstick = Yardstick(clock, clock.now_ns, parts)
    yardstick.begin()
    yardstick.again()

    assert len(made) == 2


def test_without_one() -> None:
    """What does not depend on the machine's speed costs no time."""
    NO_YARDSTICK.begin()
    NO_YARDSTICK.again()
    assert NO_YARDSTICK.pace is None


def test_no_framework_is_loaded_for_it() -> None:
    """It is the same whatever the tests have loaded."""
    code = (
        "import sys; from pytest_dlperf.measure.yardstick import reference_calls; "
        "[call() for call in reference_calls()]; "
        "assert not {'tensorflow', 'torch', 'jax', 'scipy'} & sys.modules.keys()"
    )

    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own


def test_the_real_one_leaves_random_numbers_alone() -> None:
    """It computes and copies, and leaves the generators that tests use alone."""
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002 - the user's

    compute, memory = reference_calls()
    answers = compute()
    memory()

    assert np.shape(answers) == (64, 4, 10)
    assert np.abs(np.asarray(answers)).max() > 0
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002
    yardstick = Yardstick(MonotonicClock())
    yardstick.begin()
    assert yardstick.pace is not None
