"""asyncio: a task for each request of an open loop, a coroutine for each client of a closed one."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from peers.empty import GIVE_UP_S, ROWS, Sent, due_times, empty, judged

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


SPIN_S = 2e-3
"""An event loop wakes up to a millisecond late."""


def send(rate: float, seconds: float) -> Sent:
    """Poisson arrivals to the empty target; one coroutine sleeps and starts a task when due."""
    return _send(rate, seconds, 0.0)


def send_spinning(rate: float, seconds: float) -> Sent:
    """The same, but for the last 2 ms before a request the event loop turns without sleeping."""
    return _send(rate, seconds, SPIN_S)


def _send(rate: float, seconds: float, spin_s: float) -> Sent:
    due = due_times(rate, seconds)
    late = np.full(len(due), np.inf)

    async def ask(number: int, when: float) -> None:
        row = number % len(ROWS)
        empty(ROWS[row : row + 1])
        late[number] = time.perf_counter() - when

    async def issue() -> None:
        start = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number, when in enumerate((start + due).tolist()):
                wait = when - time.perf_counter()
                if wait < -GIVE_UP_S:
                    break
                await asyncio.sleep(max(0.0, wait - spin_s))
                while time.perf_counter() < when:  # noqa: ASYNC110 - nobody else knows the time
                    await asyncio.sleep(0)
                tasks.create_task(ask(number, when))

    used = time.process_time()
    asyncio.run(issue())
    return judged(late, time.process_time() - used)


def closed_loop(
    infer: Callable[[NDArray[Any]], object], rows: NDArray[Any], clients: int, seconds: float
) -> float:
    """Requests a second when every client asks again at once, one row a call in an executor."""
    answered = 0
    end = time.perf_counter() + seconds

    async def client(number: int, threads: ThreadPoolExecutor) -> None:
        nonlocal answered
        row = number
        while time.perf_counter() < end:
            row = (row + clients) % len(rows)
            batch = rows[row : row + 1]
            await asyncio.get_running_loop().run_in_executor(threads, infer, batch)
            answered += 1

    async def ask() -> None:
        with ThreadPoolExecutor(clients) as threads:
            await asyncio.gather(*(client(number, threads) for number in range(clients)))

    started = time.perf_counter()
    asyncio.run(ask())
    return answered / (time.perf_counter() - started)
