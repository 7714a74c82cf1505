"""Scenarios: the traffic of a load.

`SingleStream`, `MultiStream`, `Server` and `Offline` carry MLPerf's meaning (MLPerf Inference
Rules, "Scenarios").
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TypeAlias

from pytest_dlperf._values import Described, check_count, check_number
from pytest_dlperf.errors import UsageError


@dataclass(frozen=True, slots=True)
class Exponential(Described):
    """An exponentially distributed random time, drawn anew each time from the run's seed.

    Attributes:
        mean: seconds.
    """

    mean: float

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_number(self.mean, "Exponential(mean)", above=0)


@dataclass(frozen=True, slots=True)
class ClosedLoop(Described):
    """A fixed number of clients, each sending its next request when the last one is answered.

    Latency runs from the moment a client is ready to send to the answer.

    Attributes:
        clients: number of virtual clients.
        think_time: seconds from an answer to the client's next request, fixed or
            `Exponential(mean)`.
    """

    clients: int
    think_time: float | Exponential = 0.0

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_count(self.clients, "ClosedLoop(clients)")
        if not isinstance(self.think_time, Exponential):
            check_number(self.think_time, "ClosedLoop(think_time)")


@dataclass(frozen=True, slots=True)
class Server(Described):
    """Poisson arrivals (open loop), whether or not answers keep up.

    Latency runs from the scheduled time of a request, so it includes all waiting.

    Attributes:
        rate: mean arrivals a second.
    """

    rate: float

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_number(self.rate, "Server(rate)", above=0)


@dataclass(frozen=True, slots=True)
class SingleStream(Described):
    """One client that sends one request at a time, back to back."""


@dataclass(frozen=True, slots=True)
class Offline(Described):
    """All requests wait from the start; only the throughput of full batches matters."""


@dataclass(frozen=True, slots=True)
class MultiStream(Described):
    """One client that sends queries of several samples, the next one after the last answer.

    The latency of a query runs from its sending to its last answer.

    Attributes:
        samples: samples in a query (MLPerf: 8).
    """

    samples: int = 8

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_count(self.samples, "MultiStream(samples)")


@dataclass(frozen=True, slots=True)
class Constant(Described):
    """Requests at equal distances (open loop).

    Attributes:
        rate: arrivals a second.
    """

    rate: float

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_number(self.rate, "Constant(rate)", above=0)


@dataclass(frozen=True, slots=True)
class Burst(Described):
    """Arrivals with gamma-distributed gaps (open loop).

    Attributes:
        rate: mean arrivals a second.
        burstiness: shape of the gamma distribution. 1 is Poisson, less is burstier, more is more
            even; the coefficient of variation of the gaps is `1 / sqrt(burstiness)`.
    """

    rate: float
    burstiness: float

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_number(self.rate, "Burst(rate)", above=0)
        check_number(self.burstiness, "Burst(burstiness)", above=0)


@dataclass(frozen=True, slots=True)
class Ramp(Described):
    """Poisson arrivals whose rate changes linearly over the run (open loop).

    Attributes:
        start: mean arrivals a second at the start.
        stop: mean arrivals a second at the end.
    """

    start: float
    stop: float

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_number(self.start, "Ramp(start)")
        check_number(self.stop, "Ramp(stop)")
        if not self.start + self.stop > 0:
            raise UsageError("Ramp(start=0, stop=0) has no requests")


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests at recorded times (open loop); those within the run's duration are sent.

    Attributes:
        times: seconds from the start, non-decreasing; or the path of a CSV file whose first
            column holds them (a first line that is not a number is a header).
    """

    times: tuple[float, ...] | str

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        if hasattr(self.times, "__fspath__"):
            object.__setattr__(self, "times", self.times.__fspath__())
        if isinstance(self.times, str):
            return
        object.__setattr__(self, "times", checked_times(self.times, "Trace(times)"))

    def __str__(self) -> str:
        if isinstance(self.times, str):
            return f"Trace({self.times.rsplit('/', 1)[-1]})"
        digest = hashlib.sha256(repr(self.times).encode()).hexdigest()[:8]
        return f"Trace({len(self.times)} requests, {digest})"


def checked_times(times: object, what: str) -> tuple[float, ...]:
    """Times of a trace as floats; `what` names their argument in messages.

    Raises:
        UsageError: if there are none, or one is not a time, or they decrease.
    """
    __tracebackhide__ = True
    try:
        checked = tuple(float(time) for time in times)  # type: ignore[attr-defined]  # or TypeError
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what}: {error}", "expected seconds from the start") from None
    if not checked:
        raise UsageError(f"{what}: there are no times")
    last = 0.0
    for number, time in enumerate(checked):
        if not (math.isfinite(time) and time >= last):
            problem = f"{what}: time {number} is {time:g}, after {last:g}"
            raise UsageError(problem, "expected seconds from the start, not decreasing")
        last = time
    return checked


OpenLoop: TypeAlias = Server | Constant | Burst | Ramp | Trace
Scenario: TypeAlias = ClosedLoop | SingleStream | MultiStream | Offline | OpenLoop
