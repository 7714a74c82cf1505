"""How often percentile intervals miss the percentile of endless time, for simulated loads.

Each run goes through the package's own accumulator and summary, as a measured load does. "above"
counts the runs whose true percentile is above the interval, "below" those with it below, and
"refused" those without an interval. Truth is the percentile of 3 million requests.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.load.accumulator import EXACT, Accumulator
from pytest_dlperf.load.samples import Samples
from pytest_dlperf.load.summary import summarise_load

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Load = Callable[[np.random.Generator, float], tuple[Floats, Floats, Floats]]

NAMES = ("p50", "p95", "p99", "mean", "throughput")
PERCENTS = (50.0, 95.0, 99.0)
TRUTH = 3_000_000
STEP = 0.01
SLOW = 0.05


@dataclass(frozen=True)
class Row:
    """A load, and for how long it is measured, in seconds."""

    name: str
    load: Load
    seconds: float
    open_loop: bool = True


def queue(
    rate: float,
    utilisation: float,
    service: Callable[[np.random.Generator, int], Floats],
    *,
    wander: tuple[float, float] | None = None,
    bursty: float = 0.0,
) -> Load:
    """One server, first come first served, from an empty queue.

    `service` draws times with mean 1; `wander` is the standard deviation of the log speed and its
    correlation time; `bursty` is the mean length of the times in which arrivals are nine times as
    frequent as in the times between.
    """

    def load(random: np.random.Generator, seconds: float) -> tuple[Floats, Floats, Floats]:
        due = arrivals(random, rate, seconds, bursty)
        work = utilisation / rate * service(random, len(due))
        if wander is not None:
            work = work * speed(random, due, *wander)
        done = np.cumsum(work)
        done += np.maximum.accumulate(due - done + work)
        return due, done - work, done

    return load


def arrivals(random: np.random.Generator, rate: float, seconds: float, bursty: float) -> Floats:
    """Poisson arrivals, whose rate switches between 1.8 and 0.2 of the mean if they are bursty."""
    peak = 1.8 if bursty else 1.0
    count = random.poisson(peak * rate * seconds)
    due: Floats = np.sort(random.random(count)) * seconds
    if not bursty:
        return due
    switches = np.cumsum(random.exponential(bursty, int(3 * seconds / bursty) + 20))
    calm = (switches.searchsorted(due) + random.integers(2)) % 2 == 1
    kept: Floats = due[~calm | (random.random(count) < 0.2 / 1.8)]
    return kept


def speed(random: np.random.Generator, at: Floats, deviation: float, memory: float) -> Floats:
    """A factor that wanders (Ornstein and Uhlenbeck 1930), at each time."""
    from scipy.signal import lfilter

    keep = math.exp(-STEP / memory)
    pushes = deviation * random.standard_normal(int(at[-1] / STEP) + 2)
    pushes[1:] *= math.sqrt(1 - keep * keep)
    path = lfilter([1.0], [1.0, -keep], pushes)
    factors: Floats = np.exp(path[(at / STEP).astype(np.intp)])
    return factors


def closed(
    clients: int,
    mean: float,
    service: Callable[[np.random.Generator, int], Floats],
    *,
    wander: tuple[float, float] | None = None,
) -> Load:
    """Clients that send again at once, at one server."""

    def load(random: np.random.Generator, seconds: float) -> tuple[Floats, Floats, Floats]:
        work = mean * service(random, int(2 * seconds / mean) + 100)
        if wander is not None:
            work = work * speed(random, np.cumsum(work), *wander)
        done = np.cumsum(work)
        due = np.concatenate([np.zeros(clients), done[:-clients]])
        kept = due < seconds
        return due[kept], (done - work)[kept], done[kept]

    return load


def exponential(random: np.random.Generator, count: int) -> Floats:
    """Memoryless service."""
    return random.exponential(size=count)


def fixed(_: np.random.Generator, count: int) -> Floats:
    """Service that always takes as long."""
    return np.ones(count)


def lognormal(random: np.random.Generator, count: int) -> Floats:
    """Service that varies by 30 %."""
    return random.lognormal(-0.045, 0.3, count)


def bimodal(random: np.random.Generator, count: int) -> Floats:
    """One request in twenty takes five times as long."""
    return np.where(random.random(count) < SLOW, 5.0, 1.0) / (1 + 4 * SLOW)


def heavy(random: np.random.Generator, count: int) -> Floats:
    """Pareto's distribution with a tail index of 2.5."""
    return (random.pareto(2.5, count) + 1) * 0.6


WANDER = (0.1, 2.0)
ROWS = (
    Row("M/M/1 0.5, 1000/s", queue(1000, 0.5, exponential), 5),
    Row("M/M/1 0.8, 1000/s", queue(1000, 0.8, exponential), 5),
    Row("M/M/1 0.9, 1000/s", queue(1000, 0.9, exponential), 5),
    Row("M/D/1 0.8, 200/s", queue(200, 0.8, fixed), 5),
    Row("M/D/1 0.9, 200/s", queue(200, 0.9, fixed), 5),
    Row("M/D/1 0.7, wanders", queue(1000, 0.7, fixed, wander=WANDER), 5),
    Row("M/D/1 0.7, wanders", queue(1000, 0.7, fixed, wander=WANDER), 30),
)
MORE = (
    Row("M/M/1 0.8, 1000/s", queue(1000, 0.8, exponential), 100),
    Row("M/D/1 0.3, 1000/s", queue(1000, 0.3, fixed), 5),
    Row("bimodal 0.6, 1000/s", queue(1000, 0.6, bimodal), 10),
    Row("heavy tail 0.5, 1000/s", queue(1000, 0.5, heavy), 10),
    Row("bursts 0.4, 1000/s", queue(1000, 0.4, exponential, bursty=0.5), 10),
    Row("M/D/1 0.7, wanders 0.2 s", queue(1000, 0.7, fixed, wander=(0.1, 0.2)), 5),
    Row("M/D/1 0.7, wanders 5 s", queue(1000, 0.7, fixed, wander=(0.1, 5.0)), 10),
    Row("1 client, lognormal", closed(1, 0.001, lognormal), 10, open_loop=False),
    Row("1 client, heavy tail", closed(1, 0.001, heavy), 10, open_loop=False),
    Row("8 clients", closed(8, 0.001, exponential), 10, open_loop=False),
    Row("64 clients", closed(64, 0.001, lognormal), 10, open_loop=False),
)


def samples(times: tuple[Floats, Floats, Floats]) -> Samples:
    """One request a call, all answered well."""
    due, begun, done = (np.round(column * 1e9).astype(np.int64) for column in times)
    return Samples(
        started_ns=0,
        intended_ns=due,
        stop=np.arange(1, len(due) + 1),
        dispatched_ns=begun,
        done_ns=done,
        replica=np.zeros(len(due), np.int64),
        outcome=np.zeros(len(due), np.uint8),
        late_ns=np.zeros(0, np.int64),
        unfinished=0,
    )


def truths(row: Row, seed: int) -> dict[str, float]:
    """Values of endless time; the throughput only of open loops, whose rate is the arrivals'."""
    random = np.random.default_rng([seed, 1])
    due, _, done = row.load(random, row.seconds)
    length = TRUTH / len(due) * row.seconds
    due, _, done = row.load(random, length)
    latency = done - due
    values = dict(zip(NAMES, np.quantile(latency, np.array(PERCENTS) / 100).tolist(), strict=False))
    return {**values, "mean": float(latency.mean()), "throughput": len(due) / float(done[-1])}


def count(number: int, runs: int, seed: int) -> dict[str, list[int]]:
    """Runs with the truth above, below, and refused, by metric, and the milliseconds of a run."""
    row = (*ROWS, *MORE)[number]
    truth = truths(row, seed)
    random = np.random.default_rng([seed, 2])
    counts = {name: [0, 0, 0] for name in NAMES}
    spent = 0.0
    for _ in range(runs):
        run = samples(row.load(random, row.seconds))
        accumulator = Accumulator(
            started_ns=0,
            seconds=row.seconds,
            replicas=1,
            open_loop=row.open_loop,
            slo=None,
            exact=EXACT,
        )
        accumulator.add(run)
        totals = accumulator.totals()
        begun = time.process_time()
        summary = summarise_load(totals, latencies=True)
        spent += time.process_time() - begun
        for name, (above, below, refused) in counts.items():
            found = summary.metrics.get(name)
            if found is None or name in summary.unbounded:
                counts[name] = [above, below, refused + 1]
                continue
            # A nanosecond, to which latencies are rounded.
            missed_above = truth[name] > found.high + 1e-9
            missed_below = truth[name] < found.low - 1e-9
            counts[name] = [above + missed_above, below + missed_below, refused]
    return {**counts, "ms": [round(1000 * spent / runs)]}


def main() -> None:
    """Print the table; `--json` keeps the counts."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=400)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--more", action="store_true", help="other loads as well")
    options.add_argument("--json", default="", help="a file for the counts")
    given = options.parse_args()
    rows = (*ROWS, *MORE) if given.more else ROWS
    print(f"{given.runs} runs a row: truth above / below the interval, and refused, %")
    print(f"{'':26} {'s':>3}" + "".join(f"  {name:^20}" for name in NAMES) + "  ms a run")
    kept = []
    with ProcessPoolExecutor(2) as pool:
        work = [pool.submit(count, n, given.runs, given.seed) for n in range(len(rows))]
        for row, result in zip(rows, work, strict=True):
            counts = result.result()
            kept.append({"load": row.name, "seconds": row.seconds, **counts})
            cells = (
                "{:6.1f} {:6.1f} {:6.1f}".format(*(100 * n / given.runs for n in counts[name]))
                for name in NAMES
            )
            line = "  ".join(cells)
            print(f"{row.name:26} {row.seconds:3.0f}  {line}  {counts['ms'][0]:7}", flush=True)
    if given.json:
        Path(given.json).write_text(json.dumps(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
