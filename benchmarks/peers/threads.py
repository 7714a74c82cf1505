"""A thread for each client."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from peers.empty import CLIENTS, GIVE_UP_S, ROWS, Sent, due_times, empty, judged

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def send(rate: float, seconds: float) -> Sent:
    """Poisson arrivals to the empty target, dealt to the clients in turn."""
    due = due_times(rate, seconds)
    late = np.full(len(due), np.inf)
    used = time.process_time()
    start = time.perf_counter() + 0.1

    def client(number: int) -> None:
        mine = (start + due[number::CLIENTS]).tolist()
        done: list[float] = []
        for when in mine:
            wait = when - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            elif wait < -GIVE_UP_S:
                break
            row = len(done) % len(ROWS)
            empty(ROWS[row : row + 1])
            done.append(time.perf_counter())
        late[number::CLIENTS][: len(done)] = np.array(done) - mine[: len(done)]

    _run_all([threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)])
    return judged(late, time.process_time() - used)


def closed_loop(
    infer: Callable[[NDArray[Any]], object], rows: NDArray[Any], clients: int, seconds: float
) -> float:
    """Requests a second when every client asks again at once, one row a call."""
    answered = [0] * clients
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        while time.perf_counter() < end:
            row = (number + clients * answered[number]) % len(rows)
            infer(rows[row : row + 1])
            answered[number] += 1

    started = time.perf_counter()
    _run_all([threading.Thread(target=client, args=(n,)) for n in range(clients)])
    return sum(answered) / (time.perf_counter() - started)


def _run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
