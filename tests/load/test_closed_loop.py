"""Clients who think equally long, against the same clients as arrays."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dlperf.load.batch import Batch, PendingRequests, Wait
from pytest_dlperf.load.closed_loop import ClosedLoopClients
from pytest_dlperf.load.request_queue import RequestQueue
from pytest_dlperf.load.serving import Serving

END_NS = 10_000


def played(
    pending: PendingRequests,
    services: list[int],
    replicas: int,
    forgetful: bool,  # noqa: FBT001
) -> list[object]:
    """All that a few replicas see: batches, waits and due times, until the end."""
    services_left = deque(services)
    seen: list[object] = []
    busy: list[tuple[int, Batch]] = []
    now_ns = forgotten = 0
    while services_left:
        batch = pending.take(now_ns) if len(busy) < replicas else Wait(None)
        seen.append((now_ns, batch))
        if batch is None:
            break
        if isinstance(batch, Batch):
            seen.append(pending.intended_ns(batch.start, batch.stop).tolist())
            busy.append((now_ns + services_left.popleft(), batch))
            continue
        # What comes next: an answer, or the time that was named.
        busy.sort(key=lambda call: call[0])
        if busy and (batch.until_ns is None or busy[0][0] <= batch.until_ns):
            done_ns, answered = busy.pop(0)
            now_ns = max(now_ns, done_ns)
            pending.finish(answered, done_ns)
            if forgetful and not busy:
                pending.forget(answered.stop)
                forgotten = answered.stop
        elif batch.until_ns is not None:
            now_ns = max(now_ns + 1, batch.until_ns)
        else:
            break
    seen.append((forgotten, pending.left(now_ns), pending.rejected))
    return seen


@settings(max_examples=300, deadline=None)
@given(
    clients=st.integers(1, 12),
    largest=st.integers(1, 8),
    patience_ns=st.sampled_from([0, 0, 5, 300]),
    think_ns=st.sampled_from([0, 0, 7, 1000]),
    services=st.lists(st.integers(1, 400), max_size=60),
    replicas=st.integers(1, 3),
    forgetful=st.booleans(),
)
def test_the_same_as_arrays(  # noqa: PLR0913, PLR0917 - what is drawn
    clients: int,
    largest: int,
    patience_ns: int,
    think_ns: int,
    services: list[int],
    replicas: int,
    forgetful: bool,  # noqa: FBT001
) -> None:
    """Every batch, every wait and every due time is what arrays of clients give."""
    serving = Serving(largest, batch_timeout=patience_ns * 1e-9)

    def again(answered: int, done_ns: int, outstanding: int) -> np.ndarray:
        del outstanding
        return np.full(answered, done_ns + think_ns, np.int64)

    arrays = RequestQueue(np.zeros(clients, np.int64), END_NS, serving, again)
    rows = ClosedLoopClients(clients, 0, END_NS, serving, think_ns)

    assert played(rows, services, replicas, forgetful) == played(
        arrays, services, replicas, forgetful
    )


def test_what_is_forgotten_in_the_middle_of_a_time() -> None:
    """Four clients come at once; the first three are forgotten, the fourth keeps its time."""
    clients = ClosedLoopClients(4, 50, END_NS, Serving(4), 0)
    assert clients.take(50) == Batch(0, 4)

    clients.forget(3)

    assert clients.intended_ns(3, 4).tolist() == [50]
