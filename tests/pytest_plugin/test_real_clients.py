"""Real clients: threads and coroutines, for targets that take one request at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plugin_projects import Run

pytestmark = pytest.mark.real_time  # an event loop knows of no other clock


def test_threads(run: Run) -> None:
    """Four threads call at the same time, each with one row and without the batch axis."""
    result = run("""
import threading
import time

lock = threading.Lock()
inside = most = 0

def one(row):
    global inside, most
    assert row.shape == (4,)
    with lock:
        inside += 1
        most = max(most, inside)
    time.sleep(0.005)
    with lock:
        inside -= 1
    return row

@pytest.mark.dlperf("accuracy >= 99%", scenario=ClosedLoop(clients=4), clients="threads")
def test_it(dlperf):
    m = dlperf(one, DATA, duration="0.5s")
    assert m.serving == "Serving(max_batch_size=1, replicas=4), clients=threads"
    assert m.p50 >= 0.005
    assert most == 4
""")

    result.assert_outcomes(passed=1)


def test_coroutines(run: Run) -> None:
    """40 coroutines that wait 20 ms each answer more than one at a time could."""
    result = run("""
import asyncio

async def one(row):
    assert row.shape == (4,)
    await asyncio.sleep(0.02)
    return row

def test_it(dlperf):
    m = dlperf(
        one, DATA, scenario=ClosedLoop(clients=40), clients="async", duration="0.5s"
    )
    assert m.accuracy == 1.0
    assert m.throughput > 100
    assert m.p50 > 0.02
""")

    result.assert_outcomes(passed=1)


def test_coroutines_in_an_open_loop(run: Run) -> None:
    """Every request is answered, from its due time on, in one event loop."""
    result = run("""
import asyncio
loops = set()

class Service:
    async def infer(self, batch):
        assert batch.shape == (1, 4)
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0.005)
        return batch

def test_it(dlperf):
    m = dlperf(Service(), DATA, scenario=Constant(200), clients="async", duration="0.5s")
    assert m.requests == 100
    assert m.errors == ()
    assert len(loops) == 1
""")

    result.assert_outcomes(passed=1)


def test_a_client_that_raises(run: Run) -> None:
    """Errors of real clients are counted by type, as those of virtual ones."""
    result = run("""
import asyncio
calls = iter(range(10**9))

async def one(row):
    await asyncio.sleep(0)
    if next(calls) > 300:
        raise ConnectionError("the shard is gone")
    return row

def test_it(dlperf):
    dlperf(one, DATA, clients="async", duration="0.3s")
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*error: ConnectionError*the shard is gone*"])
