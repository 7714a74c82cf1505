"""Scenarios: the traffic that a target is put under. The first four carry MLPerf's meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pytest_dlperf.core.checks import check_count, check_number
from pytest_dlperf.core.describe import describe


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A fixed number of clients, each sending its next request when the last one is answered.

    Latency runs from the moment a client is ready to send to the answer.

    Attributes:
        clients: how many virtual clients.
        think_time: seconds that a client waits after an answer before it sends again.
    """

    clients: int
    think_time: float = 0.0

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_count(self.clients, "ClosedLoop(clients)")
        check_number(self.think_time, "ClosedLoop(think_time)")

    def __str__(self) -> str:
        return describe(self)


@dataclass(frozen=True, slots=True)
class Server:
    """Requests that arrive by themselves (Poisson, open loop), whether or not answers keep up.

    Latency runs from the time a request was due by the schedule, so waiting is never left out.

    Attributes:
        rate: mean arrivals a second.
    """

    rate: float

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_number(self.rate, "Server(rate)", above=0)

    def __str__(self) -> str:
        return describe(self)


@dataclass(frozen=True, slots=True)
class SingleStream:
    """One client that sends one request at a time, back to back."""

    def __str__(self) -> str:
        return describe(self)


@dataclass(frozen=True, slots=True)
class Offline:
    """All requests are there from the start; only the throughput of full batches matters."""

    def __str__(self) -> str:
        return describe(self)


Scenario: TypeAlias = ClosedLoop | Server | SingleStream | Offline
