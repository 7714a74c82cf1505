"""Slot runner: a target under its load for some milliseconds at a time."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeClock, FakeMeter, FakeProgress, TimedTarget

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import TargetError
from pytest_dlperf.load.scenarios import (
    ClosedLoop,
    Constant,
    MultiStream,
    Offline,
    Scenario,
    Server,
    SingleStream,
    Trace,
)
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.preparation import prepare_load
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.measure.slot_runner import SlotRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock

ROWS = np.arange(40.0).reshape(20, 2)
MILLISECOND = 1_000_000
EIGHT = Options(scenario=ClosedLoop(8), serving=Serving(max_batch_size=8))


@contextlib.contextmanager
def slots_of(
    target: TimedTarget | Moody | Callable[[NDArray[Any]], object], options: Options
) -> Iterator[SlotRunner]:
    """A slot runner of a target, on its fake clock or in real time; closed at the end."""
    clock: Clock = getattr(target, "clock", None) or MonotonicClock()
    instruments = Instruments(clock, FakeMeter(), FakeProgress())
    load = prepare_load(target, as_data((ROWS, None)), plan([options]), instruments)
    with contextlib.closing(load), contextlib.closing(SlotRunner(load)) as runner:
        yield runner


@dataclass
class Moody:
    """Answers after 1 ms, with what `mood` makes of the batch if it is set."""

    clock: FakeClock = field(default_factory=FakeClock)
    mood: Callable[[NDArray[Any]], object] | None = None

    def infer(self, batch: NDArray[Any]) -> object:
        """Work for 1 ms."""
        self.clock.now += MILLISECOND
        return batch if self.mood is None else self.mood(batch)


def exact(clock: FakeClock | None = None) -> TimedTarget:
    """A target that answers with its inputs after 1 ms."""
    return TimedTarget(clock or FakeClock(), lambda _: MILLISECOND)


@pytest.mark.parametrize("seconds", [0.01, 0.0095, 0.0091, 0.0305])
def test_only_whole_calls_count(seconds: float) -> None:
    """Wherever the slot ends, the rate is exact: calls in flight are waited for."""
    clock = FakeClock()
    with slots_of(exact(clock), EIGHT) as runner:
        begun = clock.now
        slot = runner.slot(seconds, 0)

    calls = np.ceil(round(seconds * 1e3, 6))
    assert clock.now - begun == calls * MILLISECOND
    assert slot.good == 8 * (calls - 3)
    assert slot.good / slot.seconds == pytest.approx(8000)
    assert slot.bad == 0
    assert slot.latencies == pytest.approx(1e-3)


def test_a_call_longer_than_the_slot() -> None:
    """A slot has at least one call, and lasts until it has ended."""
    with slots_of(TimedTarget(FakeClock(), lambda _: 300 * MILLISECOND), EIGHT) as runner:
        slot = runner.slot(0.01, 0)

    assert (slot.good, slot.seconds) == (8, pytest.approx(0.3))


@pytest.mark.parametrize(
    ("scenario", "rate"), [(SingleStream(), 1000), (MultiStream(4), 4000), (Offline(), 8000)]
)
def test_scenarios(scenario: Scenario, rate: int) -> None:
    """Each scenario fills its calls; latencies are of queries, and offline there are none."""
    options = Options(scenario=scenario, serving=Serving(max_batch_size=8))
    with slots_of(exact(), options) as runner:
        slot = runner.slot(0.02, 0)

    assert slot.good / slot.seconds == pytest.approx(rate)
    assert len(slot.latencies) == (0 if isinstance(scenario, Offline) else 17)


def test_open_loop() -> None:
    """One request each 2 ms, each answered 1 ms after it was due."""
    with slots_of(exact(), Options(scenario=Constant(500))) as runner:
        slot = runner.slot(0.1, 0)

    assert slot.good == pytest.approx(50 - 2, abs=1)
    assert slot.latencies == pytest.approx(1e-3, rel=1e-3)


def test_an_open_loop_that_is_too_fast_is_late() -> None:
    """Five times the capacity: latencies grow, and the slot ends after twice its length."""
    clock = FakeClock()
    options = Options(scenario=Constant(5000), serving=Serving(max_batch_size=1))
    with slots_of(exact(clock), options) as runner:
        begun = clock.now
        slot = runner.slot(0.1, 0)

    assert slot.latencies.max() > 0.09
    assert clock.now - begun <= 201 * MILLISECOND


def test_the_limit_counts() -> None:
    """`slo` is the plan's."""
    options = Options(
        scenario=Constant(2000), serving=Serving(max_batch_size=1), slo=0.02, duration=1.0
    )
    with slots_of(exact(), options) as runner:
        slot = runner.slot(0.1, 0)

    assert 0 < slot.within < slot.good


@pytest.mark.parametrize(
    "mood",
    [
        lambda batch: batch[:, :1],
        lambda batch: batch[:-1],
        lambda batch: np.zeros(len(batch)),
        lambda _: "nothing",
    ],
)
def test_another_shape_is_bad(mood: Callable[[NDArray[Any]], object]) -> None:
    """Too few rows or columns, or no array at all: none of these is a good answer."""
    target = Moody()
    with slots_of(target, EIGHT) as runner:
        well = runner.slot(0.01, 0)
        target.mood = mood
        slot = runner.slot(0.01, 1)

    assert (well.good, well.bad) == (56, 0)
    assert (slot.good, slot.within, slot.bad) == (0, 0, 80)
    assert slot.seconds == pytest.approx(0.007)


def test_exceptions_are_bad() -> None:
    """Every third call raises: its requests are bad, the others good; the next slot is whole."""
    target = Moody()
    calls = iter(range(1000))

    def mood(batch: NDArray[Any]) -> object:
        if next(calls) % 3 == 2:
            raise ValueError("no")
        return batch

    with slots_of(target, EIGHT) as runner:
        target.mood = mood
        slot = runner.slot(0.012, 0)
        target.mood = None
        after = runner.slot(0.012, 1)

    assert (slot.good, slot.bad) == (8 * 6, 8 * 4)
    assert len(slot.latencies) == slot.good
    assert (after.good, after.bad) == (72, 0)


def test_slots_of_one_number_ask_the_same() -> None:
    """Slots of one number send the same rows at the same times; other numbers do not."""
    clock = FakeClock()
    seen: list[tuple[int, list[float]]] = []
    target = Moody(clock)

    def mood(batch: NDArray[Any]) -> object:
        seen.append((clock.now - begun, batch[:, 0].tolist()))
        return batch

    sent = []
    options = Options(scenario=Server(800), serving=Serving(max_batch_size=4))
    with slots_of(target, options) as runner:
        target.mood = mood
        for number in (3, 3, 4):
            seen.clear()
            begun = clock.now
            runner.slot(0.05, number)
            sent.append(list(seen))

    assert sent[0] == sent[1]
    assert [rows for _, rows in sent[2]] != [rows for _, rows in sent[0]]
    assert [when for when, _ in sent[2]] != [when for when, _ in sent[0]]


def test_all_rows_are_sent() -> None:
    """Short slots start with different rows, so that every row is sent."""
    seen: set[float] = set()
    target = Moody()

    def mood(batch: NDArray[Any]) -> object:
        seen.update(batch[:, 0].tolist())
        return batch

    with slots_of(target, Options(scenario=SingleStream())) as runner:
        target.mood = mood
        for number in range(20):
            runner.slot(0.001, number)

    assert seen == set(ROWS[:, 0])


def test_rows_are_read_only() -> None:
    """A target that changes its input would change it for the other side: its calls are bad."""
    target = Moody()

    def mood(batch: NDArray[Any]) -> object:
        batch += 1
        return batch

    with slots_of(target, EIGHT) as runner:
        target.mood = mood
        slot = runner.slot(0.01, 0)

    assert (slot.good, slot.bad) == (0, 80)


def test_no_request_became_due() -> None:
    """A rate so low that a slot has none: an error that says what to do, not an empty slot."""
    with (
        slots_of(exact(), Options(scenario=Trace((10.0,)))) as runner,
        pytest.raises(TargetError, match="in 20 slots of 5 ms no request became due: raise"),
    ):
        runner.slot(0.005, 0)


class BusyClock(FakeClock):
    """The clock of a machine that lets this process stand still, `stalls` times yet."""

    stalls = 0

    def now_ns(self) -> int:
        """The present; every look at it takes 20 ms while the machine is busy."""
        if self.stalls:
            self.stalls -= 1
            self.now += 20 * MILLISECOND
        return self.now


def test_a_slot_that_passed_unseen_is_tried_again() -> None:
    """The machine ran something else for all of it: the next attempt counts."""
    clock = BusyClock()
    with slots_of(exact(clock), EIGHT) as runner:
        clock.stalls = 12
        slot = runner.slot(0.01, 0)

    assert clock.stalls == 0
    assert (slot.good, slot.seconds) == (56, pytest.approx(0.007))


@pytest.mark.real_time
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_call_that_never_returns(replicas: int) -> None:
    """An error that says where it hangs, after twice `call_timeout`."""
    wake, hang = threading.Event(), threading.Event()

    def stuck(batch: NDArray[Any]) -> NDArray[Any]:
        if hang.is_set():
            wake.wait()
        return batch.copy()

    options = Options(
        scenario=ClosedLoop(8), serving=Serving(4, replicas=replicas), call_timeout=0.3
    )
    try:
        with slots_of(stuck, options) as runner:
            assert runner.slot(0.005, 0).good > 0
            hang.set()
            with pytest.raises(TargetError, match=r"had not returned after .*test_slot_runner"):
                runner.slot(0.005, 1)
    finally:
        wake.set()


@pytest.mark.real_time
@pytest.mark.parametrize("clients", ["virtual", "threads"])
def test_several_at_a_time(clients: Any) -> None:  # noqa: ANN401 - a literal
    """Two replicas, or as many real clients: all their answers count, and each is a good one."""
    options = Options(scenario=ClosedLoop(2), serving=Serving(1, replicas=2), clients=clients)
    if clients == "threads":
        options = Options(scenario=ClosedLoop(2), clients=clients)
    with slots_of(lambda batch: batch.copy(), options) as runner:
        slot = runner.slot(0.01, 0)

    assert slot.good > 0
    assert slot.bad == 0
    assert len(slot.latencies) == slot.good


def test_all_slots_are_in_one_thread_which_ends() -> None:
    """All slots run in one thread, as runtimes keep state per thread; it ends with the runner."""
    callers: set[threading.Thread] = set()
    target = Moody()

    def mood(batch: NDArray[Any]) -> object:
        callers.add(threading.current_thread())
        return batch

    with slots_of(target, EIGHT) as runner:
        target.mood = mood
        for number in range(3):
            runner.slot(0.005, number)

    (caller,) = callers
    caller.join(10)
    assert not caller.is_alive()
    assert caller is not threading.current_thread()


def test_interrupts_end_the_slot() -> None:
    """Ctrl-C inside the target ends the slot, not only a call."""
    target = Moody()

    def mood(batch: NDArray[Any]) -> object:
        del batch
        raise KeyboardInterrupt

    with slots_of(target, EIGHT) as runner:
        target.mood = mood
        with pytest.raises(KeyboardInterrupt):
            runner.slot(0.01, 0)
        target.mood = None
        assert runner.slot(0.01, 0).good == 56


def test_a_steady_target_is_warm_after_six_slots() -> None:
    """A closed loop of one speed takes 0.15 s, not three windows of 0.25 s."""
    target = exact()
    with slots_of(target, EIGHT) as runner:
        begun = target.clock.now
        runner.warm_up()

    assert 0.15 <= (target.clock.now - begun) * 1e-9 < 0.2


def test_a_target_that_becomes_faster_is_warmed_up_until_it_is_steady() -> None:
    """For 0.2 s calls take ever less time; the slots end soon after that, and not before."""
    clock = FakeClock()
    begun = clock.now

    def falling(_: int) -> int:
        return MILLISECOND + max(0, 4 * MILLISECOND - (clock.now - begun) // 50)

    with slots_of(TimedTarget(clock, falling), EIGHT) as runner:
        begun = clock.now
        runner.warm_up()

    assert 0.25 <= (clock.now - begun) * 1e-9 < 0.5


@pytest.mark.parametrize(
    ("options", "slope"),
    [(EIGHT, 0.02), (Options(scenario=Constant(100), serving=Serving(max_batch_size=8)), 0.0)],
    ids=["never steady", "open loop"],
)
def test_the_warm_up_of_the_load(options: Options, slope: float) -> None:
    """What slots cannot tell is left to the load: three windows of 0.25 s, or more."""
    clock = FakeClock()
    begun = clock.now

    def slower(_: int) -> int:
        return int(MILLISECOND + slope * (clock.now - begun))

    with slots_of(TimedTarget(clock, slower), options) as runner:
        begun = clock.now
        runner.warm_up()

    assert (clock.now - begun) * 1e-9 >= 0.7
