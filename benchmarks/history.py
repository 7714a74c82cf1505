"""How long a large history takes to open and to compare with: 10,000 runs of 5 tests each.

Two branches take turns with the pull requests of a team, on two machine classes; each measurement
has ten metrics and the bits of 360 rows. Every round opens the history anew. The server is one of
the tests' own (`tests/postgres_server.py`); without one there is SQLite alone.

    python benchmarks/history.py [--runs 10000] [--rounds 15]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from table import line, spread

from pytest_dlperf.history.database import database_of
from pytest_dlperf.history.entries import Entry, Query, Run, Selection
from pytest_dlperf.history.rows import (
    bits_row,
    digest_of,
    measurement_row,
    metric_rows,
    run_row,
)
from pytest_dlperf.history.schema import tables
from pytest_dlperf.history.store import HistoryBaselines, open_history
from pytest_dlperf.history.url import default_url
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.baseline import BaselineEntry
from pytest_dlperf.results.baseline_session import BaselineSession, Revision
from pytest_dlperf.results.environment import Environment, MachineClass
from pytest_dlperf.results.row_evidence import Rows
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOAL_MS = 100
TESTS = [f"tests/test_model.py::test_digits[{number}]" for number in range(5)]
METRICS_EACH = list(METRICS)[:10]
AT_ONCE = 1000  # runs a transaction
ENVIRONMENT = Environment("3.11", "2.21.0", "3.12.0", "2.3.0", "", "float32")
MACHINES = [MachineClass(f"CPU {number}", 8, 32, "", "") for number in range(2)]
ROWS = Rows("0" * 64, np.ones(360, bool), np.arange(360) % 50 > 0)


def runs(count: int) -> Iterator[Run]:
    """Runs of `main` and `release`, and between them those of pull requests, eight each."""
    for number in range(count):
        branch = ("main", "release", f"pr/{number // 32}", f"pr/{number // 32}")[number % 4]
        revision = Revision(f"{number // 2:040x}", branch, "2026-11-23")
        yield Run(f"{number:032x}", number * 60.0, MACHINES[number // 4 % 2], revision)


def entry(run: Run, test: str, chance: random.Random) -> Entry:
    """What a run measured of a test."""
    values = {name: chance.lognormvariate(0, 0.03) for name in METRICS_EACH}
    metrics = {name: Estimate(v, 0.98 * v, 1.02 * v) for name, v in values.items()}
    session = BaselineSession(metrics, ENVIRONMENT, run.revision, yardstick=Pace(1e-4, 1e-3))
    result = BaselineEntry("ClosedLoop(clients=64)", "Serving()", (session,), ROWS)
    return Entry(run, test, "", Verdict.PASS, result)


def fill(url: str, count: int) -> None:
    """Write all runs, many at once."""
    from sqlalchemy import insert

    open_history(url).close()
    of, database, chance = tables(), database_of(url), random.Random(0)  # noqa: S311 - no secret
    all_runs = list(runs(count))
    with database.writing() as connection:
        rows = [{"id": n, "digest": digest_of(t), "test": t} for n, t in enumerate(TESTS, 1)]
        connection.execute(insert(of.tests), rows)
    for start in range(0, count, AT_ONCE):
        some = all_runs[start : start + AT_ONCE]
        entries = [
            (n, entry(run, t, chance)) for n, run in enumerate(some, start + 1) for t in TESTS
        ]
        numbers = range(start * len(TESTS) + 1, (start + len(some)) * len(TESTS) + 1)
        with database.writing() as connection:
            connection.execute(
                insert(of.runs), [{"id": n, **run_row(r)} for n, r in enumerate(some, start + 1)]
            )
            connection.execute(
                insert(of.measurements),
                [
                    {"id": n, **measurement_row(e, run_id, TESTS.index(e.test) + 1)}
                    for n, (run_id, e) in zip(numbers, entries, strict=True)
                ],
            )
            metrics = [
                row
                for n, (_, e) in zip(numbers, entries, strict=True)
                for row in metric_rows(e.result.metrics, n)
            ]
            connection.execute(insert(of.metrics), metrics)
            connection.execute(insert(of.rows), [bits_row(ROWS, n) for n in numbers])
    database.engine.dispose()


def round_of(url: str, count: int) -> dict[str, float]:
    """Milliseconds of each step, in a history that was just opened."""
    newest = Run("f" * 32, count * 60.0, MACHINES[0], Revision("f" * 40, "pr/1", "2026-11-23"))
    ancestors = tuple(
        f"{number:040x}" for number in range(count // 2, max(0, count // 2 - 500), -1)
    )
    foreign = tuple(f"{number:040x}" for number in range(10**9, 10**9 + 500))
    steps: dict[str, Callable[[], object]] = {
        "branch": lambda: load(Selection("main")),
        "commit": lambda: history.entries(Query(commits=(ancestors[1],))),
        "few runs": lambda: load(Selection("pr/3")),
        "merge base": lambda: load(Selection(None, ancestors)),
        "unknown base": lambda: load(Selection(None, foreign)),
        "latest run": lambda: history.runs(Query(limit=1)),
        "all tests": lambda: history.measurements(Query()),
        "500 sessions": lambda: history.entries(Query(test=TESTS[1], branch="main", limit=500)),
    }

    def load(selection: Selection) -> object:
        return HistoryBaselines(history, newest, selection).load(TESTS[1])

    taken, started = {}, time.perf_counter()
    history = open_history(url)
    taken["open"] = (time.perf_counter() - started) * 1e3
    for name, step in steps.items():
        started = time.perf_counter()
        step()
        taken[name] = (time.perf_counter() - started) * 1e3
        if name == "commit":
            taken["all three"] = taken["open"] + taken["branch"] + taken["commit"]
    started = time.perf_counter()
    history.close()
    taken["close"] = (time.perf_counter() - started) * 1e3
    return taken


def import_ms() -> float:
    """Milliseconds that importing SQLAlchemy takes in a new process, beyond our own core."""
    code = (
        "import time, pytest_dlperf.history.store; started = time.perf_counter(); "
        "import sqlalchemy; print(time.perf_counter() - started)"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout) * 1e3


@contextlib.contextmanager
def places() -> Iterator[dict[str, str]]:
    """The URL of an empty history of each kind."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    servers = importlib.import_module("postgres_server")
    binaries = servers.find_binaries()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = {"SQLite": default_url(folder)}
        if binaries is not None:
            found["PostgreSQL"] = stack.enter_context(servers.running(binaries)).new_database()
        yield found


def main() -> None:
    """Fill, measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    with places() as found:
        for url in found.values():
            fill(url, given.runs)
        taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in found}
        for _ in range(given.rounds + 1):
            for kind, url in found.items():
                taken[kind].append(round_of(url, given.runs))
    print(f"{given.runs:,} runs of {len(TESTS)} tests, {given.rounds} rounds, milliseconds")
    line("", *found)
    for step in next(iter(taken.values()))[0]:
        # The first round fills caches, SQLAlchemy's among them.
        line(step, *(spread([one[step] for one in taken[kind][1:]], ".1f") for kind in found))
    line("first round", *(f"{taken[kind][0]['all three']:.1f}" for kind in found))
    print(f"goal: open, branch and commit together under {GOAL_MS} ms")
    print(f"importing SQLAlchemy, once a process: {import_ms():.0f} ms")


if __name__ == "__main__":
    main()
