"""Measuring end to end on a fake clock, without TensorFlow."""

from __future__ import annotations

import gc
import itertools
import os
import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT
from fakes import FakeClock, FakeMeter, FakeProgress, TimedTarget, fake_instruments

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.scoring import metric as dlperf_metric
from pytest_dlperf.errors import DataError, TargetError, UsageError
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.load.request_log import CallLog
from pytest_dlperf.load.request_queue import RequestQueue, request_queue_for
from pytest_dlperf.load.scenarios import (
    ClosedLoop,
    MultiStream,
    Offline,
    Scenario,
    Server,
    SingleStream,
    Trace,
)
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure import measure as measuring
from pytest_dlperf.measure.measure import measure, quiet_gc, ready
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.results.usage import GpuReading, Usage
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pytest_dlperf.results.measurement import Measurement

INPUTS = np.random.default_rng(0).random((200, 4))
LABELS = INPUTS.argmax(axis=1)
MILLISECOND = 1_000_000
_WARM_AND_HALF = 1_900 * MILLISECOND  # asked alone, three windows of 200 ms, and half the run


def measured(
    target: object,
    options: Options,
    data: object = (INPUTS, LABELS),
    instruments: Instruments | None = None,
) -> Measurement:
    """Measure on the fake clock of a `TimedTarget`, or a new one."""
    clock = target.clock if isinstance(target, TimedTarget) else FakeClock()
    instruments = instruments or fake_instruments(clock)
    return measure(target, as_data(data), plan([options]), instruments, test="test", name="")


def exact(service_ns: int = MILLISECOND, clock: FakeClock | None = None) -> TimedTarget:
    """A target that answers with its inputs after a known time."""
    return TimedTarget(clock or FakeClock(), lambda _: service_ns)


def test_throughput_and_latency_of_a_known_target() -> None:
    """64 clients, batches of 64, 1 ms a batch: 64,000/s and every latency 1 ms, exactly."""
    measurement = measured(exact(), Options(scenario=ClosedLoop(64), duration=1.0))

    assert measurement.throughput == pytest.approx(64_000, rel=1e-6)
    assert measurement.p50 == measurement.p99 == measurement["max"].value == pytest.approx(0.001)
    assert measurement["throughput"].low == pytest.approx(measurement["throughput"].high)
    assert measurement.errors == ()
    assert measurement.accuracy == 1.0
    assert measurement.requests == 64_000


def test_intervals_of_independent_requests() -> None:
    """Requests that are late one by one have the interval of order statistics, or little more."""
    # 1 to 2 ms at random: p50 is about the 500th of 1,000 latencies, and its interval reaches about
    # 31 ranks to both sides, a thirtieth of a millisecond.
    clock = FakeClock()
    random = np.random.default_rng(5)
    target = TimedTarget(clock, lambda _: int(random.integers(MILLISECOND, 2 * MILLISECOND)))

    alone = measured(target, Options(scenario=SingleStream(), duration=1.5))

    assert alone["p50"].low == pytest.approx(1.47e-3, rel=0.02)
    assert alone["p50"].high == pytest.approx(1.53e-3, rel=0.02)
    assert alone.intervals
    offline = measured(target, Options(scenario=Offline(), duration=1.0))
    assert not offline.intervals


def test_latencies_that_come_in_clusters_are_not_independent() -> None:
    """A target that is slow for a while and fast for a while, without any queueing."""
    clock = FakeClock()
    target = TimedTarget(clock, lambda _: MILLISECOND * (1 + (clock.now // 10**8) % 2))

    measurement = measured(target, Options(scenario=SingleStream(), duration=2.0))

    assert measurement["p50"].low == pytest.approx(0.001)
    assert measurement["p50"].high == pytest.approx(0.002)


def test_offline_measures_no_latency() -> None:
    """There is no p99 where all requests wait from the start."""
    measurement = measured(exact(), Options(scenario=Offline(), duration=1.0))

    assert measurement.throughput == pytest.approx(64_000, rel=1e-3)
    with pytest.raises(AttributeError, match="not measured here"):
        _ = measurement.p99


def test_an_overloaded_server_is_seen() -> None:
    """What the target cannot keep up with is late, and what is never sent is an error."""
    options = Options(scenario=Server(2000), serving=Serving(1), duration=1.0)

    measurement = measured(exact(2 * MILLISECOND), options)

    assert measurement.throughput == pytest.approx(500, rel=0.01)
    assert measurement.p50 > 0.3
    with pytest.raises(
        AttributeError, match=r"p99: more than 1\.\d+ s: 9\d\d of 1,977 requests had"
    ):
        _ = measurement.p99
    assert [error.kind for error in measurement.errors] == ["unfinished"]
    assert measurement["errors"].value == pytest.approx(0.5, abs=0.05)
    (judgement,) = judge(measurement, [parse_budget("p99 <= 100ms")], None, ENVIRONMENT, "")
    assert judgement.verdict is Verdict.FAIL
    assert measurement.notes == ("overloaded: 1,977/s came, 499/s were answered in time",)


def test_a_busy_machine_is_reported() -> None:
    """A note says what other processes used during the run."""

    class BusyMachine(FakeMeter):
        """Ten seconds of processor time a reading, four of them used by other processes."""

        readings = 0

        def usage(self) -> Usage:
            """The next reading."""
            self.readings += 1
            return Usage(2.0 * self.readings, 6.0 * self.readings, 0.0, 10.0 * self.readings)

    clock = FakeClock()
    instruments = Instruments(clock, BusyMachine(), FakeProgress())
    options = Options(scenario=ClosedLoop(2), duration=0.5)

    measurement = measured(exact(clock=clock), options, instruments=instruments)

    assert measurement.notes == (
        "the machine was not quiet: other processes took 40% of its processors",
    )


def test_usage_of_the_run() -> None:
    """Processor time a request, resident and peak memory, and the shares of others."""

    class Growing(FakeMeter):
        """Two processor seconds and one MiB more at each reading."""

        readings = 0
        held = 0

        def usage(self) -> Usage:
            """The next reading."""
            self.readings += 1
            return Usage(2.0 * self.readings, 2.0 * self.readings, 0.0, 10.0 * self.readings)

        def resident_bytes(self) -> int:
            """The next reading."""
            self.held += 1 << 20
            return self.held

    clock = FakeClock()
    meter = Growing()
    options = Options(scenario=ClosedLoop(2), duration=0.5)

    instruments = Instruments(clock, meter, FakeProgress())
    measurement = measured(exact(clock=clock), options, instruments=instruments)

    assert measurement.usage is not None
    # Read at both ends, and once in between.
    assert measurement.usage.cpu_per_request == pytest.approx(4.0 / measurement.requests)
    assert measurement.usage.peak_bytes == measurement.usage.resident_bytes == meter.held
    assert (measurement.usage.others, measurement.usage.stolen) == (0.0, 0.0)


def test_gpus_of_the_run() -> None:
    """A GPU that this process was seen on, and a note on the other processes on it."""

    class OneGpu:
        """A GPU that another process uses as well."""

        def read(self) -> tuple[GpuReading, ...]:
            """Always the same."""
            processes = frozenset({os.getpid(), os.getpid() + 1})
            return (GpuReading(0, "H200", 0.5, 1 << 30, 10**9, frozenset(), processes),)

    clock = FakeClock()
    instruments = Instruments(clock, FakeMeter(), FakeProgress(), OneGpu())
    options = Options(scenario=ClosedLoop(2), duration=1.0)

    measurement = measured(exact(clock=clock), options, instruments=instruments)

    assert [(gpu.name, gpu.utilisation, gpu.others) for gpu in measurement.gpus] == [
        ("H200", 0.5, 1)
    ]
    assert measurement.notes == ("GPU 0 (H200) was not quiet: 1 other process computed on it",)


def test_callables_have_no_threads_of_ours() -> None:
    """A callable cannot run in another process; the error says what to do instead."""
    with pytest.raises(UsageError, match="set the threads in the runtime"):
        measured(exact(), Options(serving=Serving(intra_op_threads=1), duration=1.0))


def test_a_late_generator_makes_the_run_invalid() -> None:
    """If the generator wakes late, the speeds are invalid."""
    clock = FakeClock(oversleep_ns=3 * MILLISECOND)

    measurement = measured(exact(1000, clock), Options(scenario=Server(300), duration=1.0))

    assert "woke more than 1 ms late" in measurement.invalid
    assert "worst 3 ms" in measurement.invalid


def test_warm_up_comes_before_measuring() -> None:
    """Calls that are slow only at first are not measured."""
    clock = FakeClock()
    begun = clock.now

    def service(_: int) -> int:
        return 50 * MILLISECOND if clock.now < begun + 600 * MILLISECOND else MILLISECOND

    options = Options(scenario=ClosedLoop(8), duration=2.0)
    measurement = measured(TimedTarget(clock, service), options)

    assert measurement["max"].value == pytest.approx(0.001)
    assert measurement.notes == ()


def test_a_target_that_never_settles_is_reported() -> None:
    """The warm-up is bounded, and says when it gave up."""
    clock = FakeClock()
    begun = clock.now

    def service(_: int) -> int:
        return MILLISECOND + (clock.now - begun) // 200

    options = Options(scenario=SingleStream(), duration=1.0)
    measurement = measured(TimedTarget(clock, service), options)

    assert any("not steady after the warm-up" in note for note in measurement.notes)


def test_a_target_that_slows_down_half_way() -> None:
    """A target that slows down midway: the drift is named, budgets between both rates stay open."""
    clock = FakeClock()
    began: list[int] = []

    def service(_: int) -> int:
        began.append(clock.now)
        return MILLISECOND * (10 if clock.now - began[0] > _WARM_AND_HALF else 1)

    budgets = ("throughput >= 500/s", "throughput >= 50/s", "throughput >= 2000/s")
    options = Options(scenario=SingleStream(), duration=2.0, budgets=budgets)
    measurement = measured(TimedTarget(clock, service), options)
    judged = judge(measurement, plan([options]).judged, None, ENVIRONMENT, "")

    assert any("the rate drifted by -" in note for note in measurement.notes)
    verdicts = {judgement.budget: judgement.verdict for judgement in judged}
    assert verdicts["throughput >= 500/s"] is Verdict.INCONCLUSIVE
    assert verdicts["throughput >= 50/s"] is Verdict.PASS
    assert verdicts["throughput >= 2000/s"] is Verdict.FAIL


def hanging(clock: FakeClock, never: threading.Event) -> TimedTarget:
    """A target whose 500th call waits for what never comes, and for 100 s on the fake clock."""
    calls = itertools.count()

    def answer(batch: NDArray[Any]) -> NDArray[Any]:
        if next(calls) == 500:
            clock.now += 100 * 1000 * MILLISECOND
            never.wait()
        return batch

    return TimedTarget(clock, lambda _: MILLISECOND, answer)


def test_a_call_that_hangs_ends_the_run() -> None:
    """The requests of the call are errors that say where it hangs; the others count."""
    clock = FakeClock()
    never = threading.Event()

    measurement = measured(hanging(clock, never), Options(scenario=ClosedLoop(4), quick=True))
    never.set()

    assert [(error.kind, error.requests) for error in measurement.errors] == [("no answer", 4)]
    assert re.match(
        r"a call with 4 rows had not returned after 1 min; it was in fakes.py:\d+ infer, threading",
        measurement.errors[0].example,
    )
    assert measurement["errors"].value == pytest.approx(4 / measurement.requests)
    assert measurement.seconds > 100
    # What was measured up to then is a stump: no budget passes on it, and none only warns.
    lenient = plan([Options(budgets=("errors <= 50%", "p50 <= 1s"))])
    judged = judge(measurement, lenient.judged, None, ENVIRONMENT, "")
    assert {judgement.verdict for judgement in judged} == {Verdict.INVALID}
    assert all(judgement.lasting and "cut short" in judgement.reason for judgement in judged)


def test_a_call_that_hangs_while_warming_up() -> None:
    """There is nothing to measure, and the error says where the call is."""
    clock = FakeClock()
    never = threading.Event()

    with pytest.raises(TargetError, match="hung while warming up: a call with 4 rows had not"):
        measured(hanging(clock, never), Options(scenario=ClosedLoop(4)))
    never.set()


@pytest.mark.parametrize(("calls", "what"), [(0, "failed on its first"), (20, "hung when asked")])
def test_a_target_that_hangs_before_the_load(calls: int, what: str) -> None:
    """The first calls, too, are not waited for beyond ten times the timeout with a call."""
    clock = FakeClock()
    never = threading.Event()
    left = itertools.count(calls, -1)

    def answer(batch: NDArray[Any]) -> NDArray[Any]:
        if next(left) == 0:
            never.wait()
        return batch

    with pytest.raises(TargetError, match=f"{what}.*had not returned after 100 ms"):
        measured(TimedTarget(clock, lambda _: 1, answer), Options(call_timeout=0.01))
    never.set()


def test_a_smoke_run_is_short_and_cold() -> None:
    """`quick` measures for 0.3 s without a warm-up, whatever the duration."""
    target = exact()

    measurement = measured(target, Options(scenario=ClosedLoop(64), quick=True, duration=5.0))

    assert measurement.seconds == pytest.approx(0.3)
    assert measurement.accuracy == 1.0


def test_each_phase_is_shown() -> None:
    """The progress display shows each phase."""
    clock = FakeClock()
    instruments = fake_instruments(clock)
    measured(
        exact(clock=clock), Options(scenario=ClosedLoop(2), duration=0.5), instruments=instruments
    )

    assert isinstance(instruments.progress, FakeProgress)
    phases = list(dict.fromkeys(instruments.progress.phases))
    assert phases == ["compiling", "asking rows alone", "warming up", "ClosedLoop(clients=2)"]


def test_without_labels_there_is_no_accuracy() -> None:
    """Labels may be left out; then speeds are all there is."""
    options = Options(scenario=ClosedLoop(2), duration=0.5)

    measurement = measured(exact(), options, data=(INPUTS, None))

    assert "accuracy" not in measurement.metrics
    assert measurement.rows is None


def test_a_budget_on_accuracy_needs_labels() -> None:
    """Asking for what cannot be measured is refused before measuring."""
    target = exact()

    with pytest.raises(UsageError, match="the data has no labels"):
        measured(target, Options(budgets=("accuracy >= 90%",)), data=(INPUTS, None))
    assert target.batches == []


def test_regression_has_a_loss_but_no_accuracy() -> None:
    """Labels of the answers' shape give a mean squared error."""
    options = Options(scenario=ClosedLoop(2), duration=0.5)

    measurement = measured(exact(), options, data=(INPUTS, INPUTS + 0.5))

    assert measurement.loss == pytest.approx(0.25)
    assert "accuracy" not in measurement.metrics


def test_a_target_that_cannot_be_called_is_named() -> None:
    """The first call's error is passed on with the shape that it was asked with."""

    def broken(batch: NDArray[Any]) -> None:
        raise OSError(f"no weights for {len(batch)}")

    with pytest.raises(TargetError, match=r"broken failed on its first call.*\(1, 4\).*no weights"):
        measured(broken, Options())


@pytest.mark.parametrize("target", [3, None, object()])
def test_what_is_no_target_is_refused(target: object) -> None:
    """Something that cannot be called is no target, and the message says what is."""
    with pytest.raises(UsageError, match="expected a Keras model"):
        measured(target, Options())


def test_answers_that_are_no_numbers_are_refused() -> None:
    """A target must answer with a numeric array."""
    with pytest.raises(TargetError, match="an array with one row a request"):
        measured(lambda batch: {"scores": batch, "text": "cat"}, Options())


def test_labels_that_do_not_fit_are_refused() -> None:
    """A label that is no class of the target names its row."""
    labels = LABELS.copy()
    labels[7] = 12
    with pytest.raises(DataError, match="row 7: label 12"):
        measured(exact(), Options(), data=(INPUTS, labels))


def test_goodput_counts_what_is_in_time() -> None:
    """Batches of 1 ms and 3 ms in turn: within 2 ms only the former count, half of the answers."""
    clock = FakeClock()
    turn = iter(range(10**9))
    target = TimedTarget(clock, lambda _: (1 + 2 * (next(turn) % 2)) * MILLISECOND)

    measurement = measured(target, Options(scenario=ClosedLoop(8), duration=2.0, slo=0.002))

    assert measurement.throughput == pytest.approx(4000, rel=0.01)
    assert measurement.goodput == pytest.approx(2000, rel=0.01)
    assert measurement.slo == 0.002


def test_without_an_slo_there_is_no_goodput() -> None:
    """Goodput is not measured without an `slo`."""
    measurement = measured(exact(), Options(scenario=ClosedLoop(8), duration=0.5))

    assert "goodput" not in measurement.metrics


def test_rejected_requests_are_errors() -> None:
    """What finds the queue full is counted by its own type, and in the share of errors."""
    serving = Serving(1, queue_limit=2)

    measurement = measured(exact(), Options(scenario=Server(2000), serving=serving, duration=1.0))

    (rejected,) = measurement.errors
    assert rejected.kind == "rejected"
    assert measurement["errors"].value == pytest.approx(rejected.requests / measurement.requests)
    assert measurement["errors"].value == pytest.approx(0.5, abs=0.05)
    assert measurement["max"].value <= 0.003 + 1e-9


@pytest.mark.parametrize(("cost", "duration", "told"), [(10, 1.0, "7.94 s"), (1, 0.1, "794 ms")])
def test_a_load_lasts_as_long_as_its_budgets_need(cost: int, duration: float, told: str) -> None:
    """100 requests do not carry a p99: the load is run for as many as do instead, and says so."""
    options = Options(budgets=("p99 <= 1s",), scenario=SingleStream(), duration=duration)

    measurement = measured(exact(cost * MILLISECOND), options)

    assert measurement.p99 == pytest.approx(cost / 1000)
    assert measurement.seconds == pytest.approx(0.12 * cost * 6.62, abs=0.01)  # whole calls
    (note,) = measurement.notes
    assert note == f"measured for {told}, so that there are enough requests to judge"


class Spied:
    """Notes when the machine's speed was measured, in seconds of the target's clock."""

    pace = None

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._since = clock.now
        self.seen: list[tuple[str, float]] = []

    def begin(self) -> None:
        """Directly before."""
        self._see("begin")

    def again(self) -> None:
        """Directly after."""
        self._see("again")

    def _see(self, what: str) -> None:
        self.seen.append((what, (self._clock.now - self._since) * 1e-9))
        self._clock.now += 200 * MILLISECOND
        self._since = self._clock.now


@pytest.mark.parametrize(
    ("budget", "loads"), [("throughput >= 1/s", [1.0]), ("p99 <= 1s", [1.0, 1.2 * 6.62])]
)
def test_the_machine_s_speed_around_the_load(budget: str, loads: list[float]) -> None:
    """It is measured around each load, after the warm-up, and takes no time from the target."""
    options = Options(budgets=(budget,), scenario=SingleStream(), duration=1.0)
    target = exact(10 * MILLISECOND)
    spied = Spied(target.clock)

    with ready(
        target, as_data((INPUTS, LABELS)), plan([options]), fake_instruments(target.clock)
    ) as subject:
        measurement = subject.measure("test", "", 1.0, spied)

    assert [what for what, _ in spied.seen] == ["begin", "again"] * len(loads)
    assert [seconds for _, seconds in spied.seen[1::2]] == pytest.approx(loads, abs=0.02)
    assert all(seconds == 0 for _, seconds in spied.seen[2::2])
    assert measurement["throughput"].value == pytest.approx(100.0)
    assert measurement.seconds == pytest.approx(loads[-1], abs=0.02)


@pytest.mark.parametrize("duration", [1.0, 4.0])
def test_a_trace_that_is_over_before_the_run(duration: float) -> None:
    """Its throughput is that of its requests, however long the run; no longer run is tried."""
    trace = Trace(tuple(0.01 * n for n in range(100)))
    options = Options(budgets=("p99 <= 1s",), scenario=trace, duration=duration)

    measurement = measured(exact(), options)

    assert measurement["throughput"].value == pytest.approx(100)
    (note,) = (note for note in measurement.notes if "trace" in note)
    assert note == "the trace is over after 1 s: a longer duration= has no more requests"


def test_no_load_lasts_for_ever() -> None:
    """More than ten times the duration is refused instead."""
    options = Options(budgets=("p99 <= 1s",), scenario=SingleStream(), duration=1.0)

    measurement = measured(exact(50 * MILLISECOND), options)

    assert measurement.seconds == pytest.approx(1.0)
    assert measurement.refused["p99"] == "20 requests, p99 needs 662: lengthen duration="


def test_drawing_arrivals_delays_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing arrivals, however slow, delays no request."""
    clock = FakeClock()

    def slowly(*arguments: object, **options: object) -> object:
        clock.now += 500 * MILLISECOND
        return request_queue_for(*arguments, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr("pytest_dlperf.measure.prepared.request_queue_for", slowly)

    measurement = measured(exact(1000, clock), Options(scenario=Server(2000), duration=1.0))

    assert measurement["max"].value < 0.001


def test_columns_for_reports() -> None:
    """64 clients, batches of 32, 1 ms each: half of them wait, and every curve is flat."""
    options = Options(scenario=ClosedLoop(64), serving=Serving(32), duration=2.0)

    measurement = measured(exact(), options)

    assert measurement.batch_sizes == {32: 2000}
    assert measurement.utilisation == pytest.approx((1.0,))
    assert measurement.series.seconds == pytest.approx(np.arange(20) / 10)
    assert measurement.series.rate == pytest.approx([32_000] * 20)
    assert measurement.series.p50 == pytest.approx([0.002] * 20, rel=0.001)
    assert measurement.series.p99 == pytest.approx([0.002] * 20, rel=0.001)
    assert measurement.series.queue[1:] == pytest.approx([0.001] * 19)
    assert "replica 100 % busy" in measurement.diagnosis


@pytest.mark.parametrize("scenario", [ClosedLoop(64), Server(20_000), MultiStream(8), Offline()])
def test_a_long_load_is_measured_as_a_short_one(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folded while it runs, a load has the metrics of one that was kept whole, to 0.1 %."""
    serving = Serving(16)
    options = Options(scenario=scenario, serving=serving, duration=2.0, slo=0.003)

    def load() -> Measurement:
        clock = FakeClock()
        random = np.random.default_rng(4)
        target = TimedTarget(clock, lambda _: int(random.exponential(5e5)), _mostly_well())
        return measured(target, options)

    kept = load()
    monkeypatch.setattr("pytest_dlperf.measure.prepared.EXACT", 1000)
    monkeypatch.setattr("pytest_dlperf.load.request_log._REQUESTS", 777)
    folded = load()

    assert folded.metrics.keys() == kept.metrics.keys()
    for name, estimate in kept.metrics.items():
        assert folded[name].value == pytest.approx(estimate.value, rel=0.001, abs=1e-12), name
    assert [(error.kind, error.requests) for error in folded.errors] == [
        (error.kind, error.requests) for error in kept.errors
    ]
    assert (folded.batch_sizes, folded.utilisation) == (kept.batch_sizes, kept.utilisation)
    assert folded.series == kept.series
    assert (folded.requests, folded.seconds) == (kept.requests, kept.seconds)


def test_cutting_delays_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting a segment, however slow, delays no request."""
    clock = FakeClock()
    cut, cuts = CallLog.cut, []

    def slowly(call_log: CallLog, queue: RequestQueue) -> object:
        clock.now += 500 * MILLISECOND
        cuts.append(clock.now)
        return cut(call_log, queue)

    monkeypatch.setattr(CallLog, "cut", slowly)
    monkeypatch.setattr("pytest_dlperf.load.request_log._CALLS", 100)

    measurement = measured(exact(1000, clock), Options(scenario=Server(2000), duration=1.0))

    assert len(cuts) > 20
    assert measurement["max"].value < 0.001


def _mostly_well() -> Callable[[NDArray[Any]], object]:
    """Answers that are right, but for every 50th call, which has a NaN."""
    calls = itertools.count(1)

    def answer(batch: NDArray[Any]) -> NDArray[Any]:
        answers = batch.copy()
        if next(calls) % 50 == 0:
            answers[0] = np.nan
        return answers

    return answer


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("the model in rack 7", "the model in rack 7"),
        ("", "callable "),
        (None, "callable "),
        (5, "callable "),
    ],
)
def test_description_of_a_target(description: object, shown: str) -> None:
    """A text `description` is shown in reports; any other value of that name is ignored."""
    target = exact()
    target.description = description  # type: ignore[attr-defined]

    measurement = measured(target, Options(scenario=SingleStream(), duration=0.1))

    assert measurement.target.startswith(shown)


def test_padding_costs_no_accuracy() -> None:
    """Batches of 6 are sent as 8: every row still gets its own answer, in the time of a batch."""
    serving = Serving(8, allowed_batch_sizes=(4, 8))
    target = exact()

    measurement = measured(target, Options(scenario=ClosedLoop(6), serving=serving, duration=1.0))

    assert set(target.batches) == {4, 8}
    assert measurement.errors == ()
    assert measurement.accuracy == 1.0
    assert measurement.throughput == pytest.approx(6_000, rel=1e-3)
    assert measurement.serving == "Serving(max_batch_size=8, allowed_batch_sizes=(4, 8))"


def test_devices_that_were_not_verified_are_noted() -> None:
    """A callable on a given device has a note that its placement was not verified."""
    measurement = measured(exact(), Options(serving=Serving(64, devices="cpu:0"), duration=1.0))

    assert measurement.notes == ("the target places itself: that it ran on cpu:0 was not verified",)
    assert measurement.serving == "Serving(devices=('cpu:0',))"


def overlap(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """The share of a row's labels that are among its two highest scores."""
    best = np.argsort(-outputs, axis=1)[:, :2]
    share: NDArray[Any] = (best[:, :, None] == labels[:, None, :]).any(axis=1).mean(axis=1)
    return share


RELEVANT = np.random.default_rng(1).permuted(np.tile(np.arange(4), (200, 1)), axis=1)[:, :3]


@pytest.mark.usefixtures("own_metrics")
def test_a_users_metric_is_measured() -> None:
    """Over the distinct rows, with the score of each; where nothing else fits the labels."""
    dlperf_metric(unit="share")(overlap)
    options = Options(scenario=ClosedLoop(8), duration=1.0, budgets=("overlap >= 10%",))

    measurement = measured(exact(), options, (INPUTS, RELEVANT))

    wanted = overlap(INPUTS, RELEVANT)
    assert measurement.overlap == pytest.approx(wanted.mean())
    assert measurement.scores is not None
    np.testing.assert_allclose(measurement.scores.scores["overlap"], wanted, atol=2.5e-4)
    assert not {"accuracy", "loss"} & measurement.metrics.keys()
    assert (measurement.rows, measurement.errors) == (None, ())


@pytest.mark.usefixtures("own_metrics")
def test_a_users_metric_beside_accuracy() -> None:
    """Labels that are classes give an accuracy too; without a budget the metric is not called."""
    calls: list[int] = []

    @dlperf_metric(name="top1")
    def _top1(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
        calls.append(len(outputs))
        hits: NDArray[Any] = outputs.argmax(axis=1) == labels
        return hits

    options = Options(scenario=ClosedLoop(8), duration=1.0)
    assert "top1" not in measured(exact(), options).metrics
    assert not calls
    options = Options(scenario=ClosedLoop(8), duration=1.0, budgets=("top1 >= 10%",))
    measurement = measured(exact(), options)
    assert measurement["top1"] == measurement["accuracy"]
    assert len(calls) > 1


@pytest.mark.usefixtures("own_metrics")
def test_what_a_users_metric_cannot_do() -> None:
    """It needs labels that its function, and budgets on accuracy, can take."""
    dlperf_metric(unit="share")(overlap)
    options = Options(scenario=ClosedLoop(8), duration=1.0, budgets=("overlap >= 10%",))
    with pytest.raises(UsageError, match="'overlap >= 10%' cannot be judged: the data has no lab"):
        measured(exact(), options, (INPUTS, None))
    with pytest.raises(UsageError, match="metric 'overlap': its function raised IndexError"):
        measured(exact(), options)
    both = Options(scenario=ClosedLoop(8), duration=1.0, budgets=("overlap > 1%", "accuracy > 1%"))
    with pytest.raises(DataError, match="do not fit answers"):
        measured(exact(), both, (INPUTS, RELEVANT))
    with pytest.raises(DataError, match="do not fit answers"):
        measured(exact(), Options(), (INPUTS, RELEVANT))


@pytest.mark.usefixtures("own_metrics")
def test_rows_without_a_good_answer_have_the_worst_share() -> None:
    """Rows answered with NaN score 0 in a share, as they are wrong rows of the accuracy."""
    dlperf_metric(unit="share")(overlap)
    clock = FakeClock()
    bad = {tuple(row) for row in INPUTS[:50]}

    def answer(batch: NDArray[Any]) -> object:
        answers = batch.copy()
        answers[[tuple(row) in bad for row in batch]] = np.nan
        return answers

    options = Options(scenario=ClosedLoop(8), duration=1.0, budgets=("overlap >= 10%",))
    target = TimedTarget(clock, lambda _: MILLISECOND, answer)
    measurement = measured(target, options, (INPUTS, RELEVANT))

    assert measurement.scores is not None
    assert measurement.scores.complete
    assert not measurement.scores.scores["overlap"][:50].any()
    scored = overlap(INPUTS[50:], RELEVANT[50:])
    assert measurement.overlap == pytest.approx(scored.sum() / len(INPUTS))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The real garbage collector, with nothing frozen."""
    monkeypatch.setattr(measuring, "gc", gc)
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_what_is_measured_is_frozen_while_it_is_measured() -> None:
    """Collecting between loads looks at new objects only."""
    with quiet_gc():
        assert gc.get_freeze_count()
        assert not gc.isenabled()
    assert not gc.get_freeze_count()
    assert gc.isenabled()


@pytest.mark.usefixtures("collector")
def test_what_others_have_frozen_stays_frozen() -> None:
    """Such as what forks share, which collecting would copy."""
    gc.freeze()
    frozen = gc.get_freeze_count()
    with quiet_gc():
        assert not gc.isenabled()
    # What others held may have been freed meanwhile.
    assert gc.get_freeze_count() == pytest.approx(frozen, rel=0.01)
