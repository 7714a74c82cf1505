"""MLPerf LoadGen as an oracle: the same rate and an empty target give what LoadGen gives."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from early_stopping import early_stopping_bound
from scipy import stats

from pytest_dlperf.load.arrivals import arrivals
from pytest_dlperf.load.scenarios import Burst, Constant, OpenLoop, Server

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.oracle

RATE = 5_000
CHANCE = 0.01

_SAMPLE = re.compile(
    r'"name":"Sample".*"ph":"b".*"ts":(?P<due>[\d.]+).*"sample_seq":(?P<number>\d+)'
    r'.*"complete_ns":(?P<latency>\d+)'
)


@dataclass(frozen=True)
class LoadGenRun:
    """What LoadGen wrote down.

    Attributes:
        scheduled_ns: when each sample was due, on LoadGen's clock, shape `(samples,)`.
        latency_ns: of each sample, from due to complete, shape `(samples,)`.
        summary: its text.
    """

    scheduled_ns: NDArray[np.int64]
    latency_ns: NDArray[np.int64]
    summary: str


def loadgen(folder: Path, scenario: str, **settings: float) -> LoadGenRun:
    """One run of LoadGen in a process of its own; it reads and writes only in `folder`."""
    pytest.importorskip("mlperf_loadgen", reason="mlcommons-loadgen is not installed")
    script = Path(__file__).parents[1] / "loadgen_run.py"
    assignments = [f"{name}={number}" for name, number in settings.items()]
    command = [sys.executable, str(script), str(folder), scenario, *assignments]
    subprocess.run(command, cwd=folder, check=True, timeout=60)  # noqa: S603 - our own interpreter
    # Read by line: the trace as a whole is not always JSON.
    trace = (folder / "mlperf_log_trace.json").read_text()
    begun = np.array(sorted(map(_numbers, _SAMPLE.finditer(trace))))
    return LoadGenRun(
        scheduled_ns=begun[:, 1],
        latency_ns=begun[:, 2],
        summary=(folder / "mlperf_log_summary.txt").read_text(),
    )


def _numbers(sample: re.Match[str]) -> tuple[int, int, int]:
    """A sample's number, due time and latency in nanoseconds; due times are in microseconds."""
    return int(sample["number"]), round(float(sample["due"]) * 1e3), int(sample["latency"])


@pytest.fixture(scope="module")
def poisson(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.int64]:
    """Due times of LoadGen's Server scenario, in nanoseconds from the first one.

    They come from its seed, so that they are the same in every run.
    """
    run = loadgen(
        tmp_path_factory.mktemp("server"),
        "Server",
        server_target_qps=RATE,
        server_target_latency_ns=10**9,
        min_duration_ms=1_000,
        min_query_count=1,
        schedule_rng_seed=1,
    )
    return run.scheduled_ns - run.scheduled_ns[0]


def same_gaps(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> float:
    """Probability of gaps that differ as much by chance (Kolmogorov and Smirnov, two samples)."""
    return float(stats.ks_2samp(np.diff(ours), np.diff(theirs)).pvalue)


def same_counts(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> float:
    """Probability of arrivals in 1 ms that differ as much by chance (chi square, two samples).

    Gaps alone would not show that they depend on each other.
    """
    most = 10
    counts = [np.bincount(times // 1_000_000)[:-1].clip(max=most) for times in (ours, theirs)]
    table = np.array([np.bincount(count, minlength=most + 1) for count in counts])
    return float(stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue)


def test_poisson_arrivals_are_loadgens(poisson: NDArray[np.int64]) -> None:
    """`Server(rate)` has the gaps and the counts of LoadGen's Server scenario at this rate."""
    ours = arrivals(Server(RATE), 1.0, seed=0)

    assert same_gaps(ours, poisson) > CHANCE
    assert same_counts(ours, poisson) > CHANCE
    assert len(ours) == pytest.approx(len(poisson), abs=4 * (2 * RATE) ** 0.5)


@pytest.mark.parametrize("other", [Server(1.1 * RATE), Burst(RATE, 0.7), Constant(RATE)])
def test_the_oracle_tells_other_arrivals(other: OpenLoop, poisson: NDArray[np.int64]) -> None:
    """A rate that is 10 % off, gaps that are not exponential: both comparisons refuse them."""
    ours = arrivals(other, 1.0, seed=0)

    assert same_gaps(ours, poisson) < CHANCE
    assert same_counts(ours, poisson) < CHANCE


@pytest.mark.parametrize("requests", [662, 2_000, 5_000])
def test_early_stopping_is_loadgens(requests: int, tmp_path: Path) -> None:
    """On LoadGen's latencies, the bounds on p90 and p99 are LoadGen's estimates, to the ns."""
    run = loadgen(
        tmp_path,
        "SingleStream",
        min_query_count=requests,
        max_query_count=requests,
        min_duration_ms=1,
    )
    ordered = np.sort(run.latency_ns)

    assert len(ordered) == requests
    for percent in (90, 99):
        estimate = _number(run.summary, f"Early stopping {percent}.0th percentile estimate: ")
        assert ordered[requests - early_stopping_bound(requests, percent)] == estimate
    # Latencies have ties at p90; how many lie above its estimate has none.
    discarded = _number(run.summary, "Would discard ")
    assert early_stopping_bound(requests, 90) - 1 == discarded


def _number(text: str, before: str) -> int:
    match = re.search(rf"{before}(\d+)", text)
    assert match, text
    return int(match[1])
