"""The highest rate under a limit, end to end on a fake clock."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT
from fakes import FakeClock, FakeProgress, TimedTarget, fake_instruments
from queues import fixed_service_share, random_service_limit

from pytest_dlperf.config.budgets import LatencyLimit, parse_limit
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import TargetError
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.load.scenarios import Server
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.max_rate import measure_max_rate, rate_search
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.results.measurement import Measurement

INPUTS = np.random.default_rng(0).random((200, 4))
LABELS = INPUTS.argmax(axis=1)
MILLISECOND = 1_000_000


def measured(
    target: TimedTarget,
    limit: LatencyLimit | str,
    *,
    labels: object = LABELS,
    **options: Any,  # noqa: ANN401 - any option
) -> Measurement:
    """Search on the target's clock."""
    held = parse_limit(limit) if isinstance(limit, str) else limit
    given = {"serving": Serving(1), **options}
    data = as_data((INPUTS, labels))
    instruments = fake_instruments(target.clock)
    return measure_max_rate(
        target, data, plan([Options(**given)]), instruments, held, test="t", name=""
    )


def fixed(clock: FakeClock | None = None, service_ns: int = MILLISECOND) -> TimedTarget:
    """A target that answers with its inputs after a known time."""
    return TimedTarget(clock or FakeClock(), lambda _: service_ns)


def test_random_service() -> None:
    """M/M/1 at 1,000/s: the rate whose 99 % are within t is `mu - ln(100) / t`, here 800/s."""
    random = np.random.default_rng(4)
    target = TimedTarget(FakeClock(), lambda _: int(random.exponential(MILLISECOND)))
    limit = LatencyLimit(99, random_service_limit(800, 1000, 0.99))

    measurement = measured(target, limit, duration=8.0)["max_rate"]

    assert measurement.low <= 800 <= measurement.high
    assert measurement.high <= 1.2 * measurement.low


def test_fixed_service() -> None:
    """M/D/1 at 1,000/s: at the lower end 99 % are within 5 ms by Erlang's formula, not above."""
    measurement = measured(fixed(), "p99 <= 5ms", duration=8.0)["max_rate"]

    assert fixed_service_share(measurement.low, 0.001, 0.005) >= 0.99
    assert fixed_service_share(measurement.high, 0.001, 0.005) < 0.99
    assert measurement.high <= 1.2 * measurement.low


def test_what_is_measured_besides() -> None:
    """Errors, accuracy and loss over all requests, memory and compile time; no latencies."""
    measurement = measured(fixed(), "p99 <= 5ms", duration=5.0)

    assert list(measurement.metrics) == [
        "max_rate",
        "errors",
        "accuracy",
        "loss",
        "peak_memory",
        "compile_time",
    ]
    assert measurement.accuracy == 1.0
    assert measurement.rows is not None
    assert measurement.scenario == "max_rate(p99 <= 5ms)"
    assert measurement.serving == "Serving(max_batch_size=1)"


def test_a_limit_below_the_service_time() -> None:
    """No rate holds 0.5 ms where a call takes 1 ms: the value is 0, and a budget FAILs."""
    measurement = measured(fixed(), "p99 <= 0.5ms", duration=2.0)

    assert measurement.max_rate == 0
    assert any("fails even at" in note for note in measurement.notes)
    budgets = plan([Options(budgets=("max_rate >= 200/s",))]).judged
    verdicts = judge(measurement, budgets, None, ENVIRONMENT, "")
    assert [judgement.verdict for judgement in verdicts] == [Verdict.FAIL, Verdict.PASS]


def test_a_limit_that_always_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that is never the bottleneck stops the search at the fastest rate, with a note."""
    monkeypatch.setattr("pytest_dlperf.measure.max_rate._MOST_REQUESTS", 2_000)
    measurement = measured(fixed(service_ns=20_000), "p99 <= 1ms", duration=1.0)

    assert measurement.max_rate == 2_000
    assert measurement.notes == (
        "max_rate: 2,000/s held, none failed, 1 rate tried: no limit found up to 2,000/s",
    )


def test_a_full_queue_counts_against_the_limit() -> None:
    """M/M/1/2 rejects `rho^2 / (1 + rho + rho^2)`, a tenth at 393/s; and that is no error."""
    random = np.random.default_rng(6)
    target = TimedTarget(FakeClock(), lambda _: int(random.exponential(MILLISECOND)))
    serving = Serving(1, queue_limit=1)

    measurement = measured(target, "p90 <= 40ms", duration=5.0, serving=serving, scenario=Server(1))

    assert measurement["max_rate"].low <= 393.5 <= measurement["max_rate"].high <= 600
    assert measurement["errors"].value == 0
    assert measurement.serving == "Serving(max_batch_size=1, queue_limit=1)"


def test_bad_answers_are_errors() -> None:
    """One answer in a thousand raises: counted over all loads, with its kind."""
    calls = iter(range(10**9))

    def answer(batch: NDArray[Any]) -> object:
        if next(calls) % 1000 == 999:
            raise ValueError("one in a thousand")
        return batch

    measurement = measured(
        TimedTarget(FakeClock(), lambda _: MILLISECOND, answer), "p90 <= 5ms", duration=2.0
    )

    (error,) = measurement.errors
    assert error.kind == "ValueError"
    assert measurement["errors"].value == pytest.approx(0.001, rel=0.05)


def test_a_target_that_only_fails_is_not_searched() -> None:
    """Where no answer is good, no rate is tried."""

    def answer(batch: NDArray[Any]) -> object:
        if target.clock.now > begun + 300 * MILLISECOND:
            raise ValueError("out of paper")
        return batch

    target = TimedTarget(FakeClock(), lambda _: MILLISECOND, answer)
    begun = target.clock.now

    with pytest.raises(TargetError, match="no request well: ValueError: out of paper"):
        measured(target, "p99 <= 5ms", duration=5.0)


def test_a_call_that_hangs_ends_the_search() -> None:
    """Further loads would only wait for it again; the error says at which rate it was."""
    never = threading.Event()

    def answer(batch: NDArray[Any]) -> object:
        if target.clock.now > begun + 10_000 * MILLISECOND:
            target.clock.now += 100_000 * MILLISECOND
            never.wait()
        return batch

    target = TimedTarget(FakeClock(), lambda _: MILLISECOND, answer)
    begun = target.clock.now

    with pytest.raises(TargetError, match=r"hung under Server\(rate=500.*had not returned"):
        measured(target, "p99 <= 5ms", duration=5.0)
    never.set()


def test_a_late_generator_makes_the_search_invalid() -> None:
    """A rate may have failed because the generator woke late."""
    measurement = measured(
        fixed(FakeClock(oversleep_ns=6 * MILLISECOND)), "p99 <= 5ms", duration=2.0
    )

    assert "woke more than 1 ms late" in measurement.invalid


def test_windows_are_long_enough_for_the_limit() -> None:
    """A window is at least 100 limits long, so that an overload shows in it; a note says so."""
    measurement = measured(fixed(), "p99 <= 20ms", duration=1.0)

    assert "each window lasted 2 s: 100 times the limit" in measurement.notes
    assert measurement["max_rate"].low < 1000


def test_each_rate_is_announced() -> None:
    """The progress display shows which rate is tried."""
    target = fixed()
    instruments = replace(fake_instruments(target.clock), progress=FakeProgress())
    data = as_data((INPUTS, LABELS))
    the_plan = plan([Options(serving=Serving(1), duration=5.0)])
    measure_max_rate(
        target, data, the_plan, instruments, parse_limit("p99 <= 5ms"), test="t", name=""
    )

    phases = list(dict.fromkeys(instruments.progress.phases))
    assert phases[:5] == [
        "compiling",
        "asking rows alone",
        "warming up",
        "max_rate(p99 <= 5ms): full batches",
        "max_rate(p99 <= 5ms): 500/s",
    ]
    assert len(phases) > 7


def test_a_smoke_run_is_short() -> None:
    """Six windows of 0.3 s at the most, without a warm-up."""
    target = fixed()
    began = target.clock.now

    measurement = measured(target, "p90 <= 5ms", quick=True)

    assert (target.clock.now - began) * 1e-9 < 0.3 * (1 + 2 * 6) + 2
    assert measurement.accuracy == 1.0


def test_the_machine_s_speed_between_the_windows() -> None:
    """It is measured before the search and after each of its windows."""

    class Told:
        pace = None

        def __init__(self) -> None:
            self.calls: list[str] = []

        def begin(self) -> None:
            """Before."""
            self.calls.append("begin")

        def again(self) -> None:
            """After a window."""
            self.calls.append("again")

    told, target = Told(), fixed()
    limit = parse_limit("p99 <= 5ms")
    given = plan([Options(serving=Serving(1), quick=True)])
    instruments = fake_instruments(target.clock)

    with rate_search(target, as_data((INPUTS, LABELS)), given, instruments, limit) as search:
        search.measure("t", "", 1.0, told)

    assert told.calls[0] == "begin"
    assert told.calls[1:] == ["again"] * (len(told.calls) - 1)
    assert len(told.calls) > 2
