"""What a generator itself can do and costs: Poisson arrivals to a target that answers at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from apart import apart
from peers import coroutines, dlperf, loadgen, locust_users, threads
from table import installed, line, ratios, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers.empty import Sent

PEERS: dict[str, Callable[[float, float], Sent]] = {"dlperf": dlperf.send}
if installed("mlperf_loadgen"):
    PEERS["LoadGen"] = loadgen.send
PEERS |= {
    "thread per client": threads.send,
    "asyncio": coroutines.send,
    "asyncio, spinning": coroutines.send_spinning,
}
if installed("locust"):
    PEERS["locust"] = locust_users.send

FIRST_RATE = 1_000
STEP = 4
LAST_RATE = FIRST_RATE * STEP**7
CLOSE_ENOUGH = 1.2
COSTS_AT = (2_000, 100_000)


def rates(seconds: float, rounds: int) -> None:
    """The highest rate at which fewer than 1 % of the requests are late by 1 ms."""
    print("highest rate with fewer than 1 % late by 1 ms, empty target, requests a second")
    line("", "held", "dlperf / peer (goal: 10)")
    held: dict[str, list[float]] = {name: [] for name in PEERS}
    for _ in range(rounds):
        for name, send in PEERS.items():
            held[name].append(_highest_rate(send, seconds))
    for name, found in held.items():
        least = f"less than {FIRST_RATE:,}"
        rate = spread(found, ",.0f") if all(found) else least
        line(name, rate, ratios(held["dlperf"], found, ".1f"))


def _highest_rate(send: Callable[[float, float], Sent], seconds: float) -> float:
    """The last rate that was held, by steps and then halves, to 20 %; 0 if not even the first."""

    def holds(rate: float) -> bool:
        # In one of two tries: something else may have had the processor.
        return any(apart(send, rate, seconds).in_time for _ in range(2))

    held, rate = 0.0, float(FIRST_RATE)
    while rate <= LAST_RATE and holds(rate):
        held, rate = rate, rate * STEP
    while held and rate <= LAST_RATE and rate / held > CLOSE_ENOUGH:
        middle = math.sqrt(held * rate)
        held, rate = (middle, rate) if holds(middle) else (held, middle)
    return held


def costs(seconds: float, rounds: int) -> None:
    """Processor time of each request, at a low and at a high rate, and what it buys.

    Goals: no more than LoadGen's at the low rate, a tenth of it at the high one.
    """
    for rate in COSTS_AT:
        print(f"processor time at {rate:,} requests a second, empty target")
        line("", "us a request", "over LoadGen's", "median latency us", "kept the rate in time")
        peers = PEERS | {"dlperf, batching": dlperf.send_batching}
        sent: dict[str, list[Sent]] = {name: [] for name in peers}
        for _ in range(rounds):
            for name, send in peers.items():
                sent[name].append(apart(send, rate, seconds))
        loadgens = [one.cpu_us for one in sent.get("LoadGen", [])] or [0.0] * rounds
        for name, runs in sent.items():
            used = [one.cpu_us for one in runs]
            latency = spread([one.p50_us for one in runs], ".1f")
            kept = f"{sum(one.in_time for one in runs)} of {rounds}"
            line(name, spread(used, ".1f"), ratios(used, loadgens, ".2f"), latency, kept)
