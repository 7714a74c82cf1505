"""Whatever is measured runs without tracers, in all threads of the load, and says so."""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeClock, fake_instruments

from pytest_dlperf.config.budgets import parse_limit
from pytest_dlperf.config.options import Clients, Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.max_rate import rate_search
from pytest_dlperf.measure.measure import ready
from pytest_dlperf.measure.sweep import measure_sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pytest_dlperf.measure.prepared import Instruments

ROWS = as_data((np.arange(40.0).reshape(20, 2), None))
MILLISECOND = 1_000_000


def tracer(frame: object, event: str, arg: object) -> None:
    """A trace function that does nothing."""


@dataclass
class Looking:
    """Answers after 1 ms of simulated time, and looks who traces it."""

    clock: FakeClock = field(default_factory=FakeClock)
    seen: set[object] = field(default_factory=set)

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The batch."""
        self.seen |= {sys.gettrace(), threading.gettrace()}
        self.clock.now += MILLISECOND
        return batch


@pytest.fixture
def _traced() -> Iterator[None]:
    """A tracer of this thread and of all threads that begin meanwhile."""
    before = sys.gettrace(), threading.gettrace()
    threading.settrace(tracer)
    sys.settrace(tracer)
    yield
    threading.settrace(before[1])
    sys.settrace(before[0])


def measured(target: Looking, instruments: Instruments, options: Options) -> tuple[str, ...]:
    """By a load, as most tests do."""
    with ready(target, ROWS, plan([options]), instruments) as subject:
        return subject.measure("test", "", 0.5).notes


def in_slots(target: Looking, instruments: Instruments, options: Options) -> tuple[str, ...]:
    """By a load and slots, as a side of a duel."""
    with ready(target, ROWS, plan([options]), instruments) as subject:
        notes = subject.measure("test", "", 0.5).notes
        with contextlib.closing(subject.slots()) as slots:
            slots.slot(0.01, 0)
        return notes


def searched(target: Looking, instruments: Instruments, options: Options) -> tuple[str, ...]:
    """By a search of the highest rate."""
    limit = parse_limit("p99 <= 50ms")
    with rate_search(target, ROWS, plan([options]), instruments, limit) as search:
        return search.measure("test", "", 0.5).notes


def swept(target: Looking, instruments: Instruments, options: Options) -> tuple[str, ...]:
    """By a sweep."""
    settings = plan([options])
    sweep = measure_sweep(target, ROWS, settings, instruments, clients=(1, 2), test="test")
    return sweep.whole.notes


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("how", [measured, in_slots, searched, swept])
@pytest.mark.parametrize("clients", ["virtual", "threads"])
def test_a_target_is_not_traced(
    how: Callable[[Looking, Instruments, Options], tuple[str, ...]], clients: Clients
) -> None:
    """Neither when it is asked first, nor while it warms up, nor under load."""
    target = Looking()
    serving = Serving(max_batch_size=1)
    options = Options(scenario=ClosedLoop(2), serving=serving, clients=clients, duration=0.5)

    notes = how(target, fake_instruments(target.clock), options)

    assert target.seen == {None}
    assert [note for note in notes if "suspended" in note] == [
        f"{__name__.partition('.')[0]} was suspended while measuring"
    ]
    assert sys.gettrace() is tracer
    assert threading.gettrace() is tracer


@pytest.mark.usefixtures("_traced")
def test_a_smoke_run_is_traced() -> None:
    """Its speeds are not judged, so coverage and debuggers may see the target there."""
    target = Looking()

    notes = measured(target, fake_instruments(target.clock), Options(quick=True))

    assert tracer in target.seen
    assert not any("suspended" in note for note in notes)
