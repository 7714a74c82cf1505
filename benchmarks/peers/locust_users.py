"""locust's user loop, with users that keep an absolute schedule.

The users of locust wait between tasks for whatever time they are told: here, until their next
request is due. Their greenlets are locust's own; the web interface and HTTP are left out.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from peers.empty import CLIENTS, GIVE_UP_S, ROWS, Sent, due_times, empty, judged
from peers.known import KnownService, Served, System

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SPAWN_S = 0.5


def send(rate: float, seconds: float) -> Sent:
    """Poisson arrivals to the empty target."""
    due = due_times(rate, seconds)
    late = np.full(len(due), np.inf)

    def ask(number: int, when: float) -> None:
        row = number % len(ROWS)
        empty(ROWS[row : row + 1])
        late[number] = time.perf_counter() - when

    return judged(late, _run(due, ask, CLIENTS))


def serve(system: System, seconds: float) -> Served:
    """Poisson arrivals to as many threads as there are servers; latency as locust counts it."""
    os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
    from gevent.threadpool import ThreadPool

    due = due_times(system.rate, seconds)
    latency = np.full(len(due), np.nan)
    target = KnownService(system)
    target.begin()
    servers = ThreadPool(system.servers)

    def ask(number: int, when: float) -> None:
        del when  # locust's response time runs from the moment at which the user asks
        started = time.perf_counter()
        row = number % len(ROWS)
        servers.apply(target.infer, (ROWS[row : row + 1],))
        latency[number] = time.perf_counter() - started

    _run(due, ask, CLIENTS)
    return Served(due, target.services(len(due)), latency)


def _run(due: NDArray[np.float64], ask: Callable[[int, float], None], clients: int) -> float:
    """Deal the requests to the users in turn; returns the processor time in seconds."""
    # Patching the standard library would also change what the target is made of.
    os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
    import gevent
    from locust import User, task
    from locust.env import Environment
    from locust.exception import StopUser

    start = time.perf_counter() + SPAWN_S
    spawned = iter(range(clients))

    class Client(User):  # type: ignore[misc]  # locust is not imported when types are checked
        def on_start(self) -> None:
            self.number = next(spawned)
            gevent.sleep(self.wait_time())

        def wait_time(self) -> float:
            if self.number >= len(due):
                raise StopUser
            wait = start + float(due[self.number]) - time.perf_counter()
            if wait < -GIVE_UP_S:
                raise StopUser
            return max(0.0, wait)

        @task
        def ask(self) -> None:
            when = start + float(due[self.number])
            begun = time.perf_counter()
            ask(self.number, when)
            self.environment.events.request.fire(
                request_type="call",
                name="target",
                response_time=(time.perf_counter() - begun) * 1e3,
                response_length=0,
                exception=None,
                context={},
            )
            self.number += clients

    environment: Any = Environment(user_classes=[Client])
    runner = environment.create_local_runner()
    runner.start(clients, spawn_rate=clients * 10)
    gevent.sleep(max(0.0, start - 0.01 - time.perf_counter()))
    used = time.process_time()
    runner.greenlet.join(timeout=0)
    while runner.user_count:
        gevent.sleep(0.05)
    used = time.process_time() - used
    runner.quit()
    return used
