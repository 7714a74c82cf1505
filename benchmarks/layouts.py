"""Duels of identical targets in one process: how many fail, and how much layouts differ by.

    python benchmarks/layouts.py [--duels 100] [--kinds gather dense keras global] [--slower 0]

Each duel has a process of its own, so that no two of them have the layouts of another. The targets
gather from a table of 51 MB, multiply by two matrices of 4 MB, or are a Keras model; those of
`global` gather from a table that cannot be copied. With `--slower 10` the candidates gather from,
or compute, a tenth more: these should fail.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from table import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

BUDGET: Final = "throughput >= baseline"
ROWS: Final = 512
WIDTH: Final = 128
ENTRIES: Final = 100_000
IDS: Final = 40
UNITS: Final = 1000
TABLES: Final[dict[str, NDArray[Any]]] = {}


def main() -> None:
    """Print the table, or the outcome of one duel as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duels", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=[*KINDS])
    parser.add_argument("--slower", type=float, default=0.0, help="per cent more work")
    parser.add_argument("--one", choices=sorted(KINDS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(duel(given.one, given.slower)))
        return
    names = ("FAIL", "PASS", "INCONCLUSIVE", "pairs", "spread of pairs, %", "seconds")
    print(f"{'':<8}" + "".join(f"{name:>20}" for name in names))
    for kind in given.kinds:
        command = [sys.executable, __file__, "--one", kind, "--slower", str(given.slower)]
        show(kind, [outcome(command) for _ in range(given.duels)])


def outcome(command: Sequence[str]) -> dict[str, Any]:
    """That of a duel in a process of its own."""
    run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this file
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def show(kind: str, duels: Sequence[dict[str, Any]]) -> None:
    """Print a line of the table."""
    verdicts = Counter(one["verdict"] for one in duels)
    spreads = [statistics.stdev(one["effects"]) for one in duels if len(one["effects"]) > 1]
    cells = (
        *(str(verdicts[name]) for name in ("FAIL", "PASS", "INCONCLUSIVE")),
        spread([float(one["pairs"]) for one in duels], ".0f"),
        spread([100 * each for each in spreads], ".1f") if spreads else "-",
        spread([one["seconds"] for one in duels], ".0f"),
    )
    print(f"{kind:<8}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def duel(kind: str, slower: float) -> dict[str, Any]:
    """The outcome of one duel in this process."""
    from pytest_dlperf.clock import MonotonicClock
    from pytest_dlperf.config.options import Options
    from pytest_dlperf.config.plan import plan
    from pytest_dlperf.data.dataset import as_data
    from pytest_dlperf.duel.in_process import DuelCandidate, duel_candidates
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.load.scenarios import ClosedLoop
    from pytest_dlperf.load.serving import Serving
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.measure.telemetry import ProcessMeter
    from pytest_dlperf.report.progress import NoProgress

    base, candidate, rows = KINDS[kind](1 + slower / 100)
    chosen = Options(
        budgets=(BUDGET,), scenario=ClosedLoop(32), serving=Serving(max_batch_size=32), duration=2.0
    )
    data, settled = as_data((rows, None)), plan([chosen])
    began = time.monotonic()
    record = duel_candidates(
        DuelCandidate(base, data, settled),
        DuelCandidate(candidate, data, settled),
        Instruments(MonotonicClock(), ProcessMeter(), NoProgress()),
        rates=ErrorRates(1),
        rng=np.random.default_rng(),
        key=("layouts", kind),
    )
    (judgement,) = (each for each in record.judgements if each.budget == BUDGET)
    found = record.duel or {}
    return {
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
        "pairs": found["pairs"],
        "effects": found["effects"][BUDGET],
        "seconds": time.monotonic() - began,
    }


def _ids(work: float) -> NDArray[np.int64]:
    random = np.random.default_rng(0)
    return random.integers(0, ENTRIES, (ROWS, round(IDS * work)))


def _table() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((ENTRIES, WIDTH), np.float32)


def _gather(work: float) -> tuple[object, object, NDArray[Any]]:
    def gathering(table: NDArray[Any], ids: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
        return lambda batch: table[batch[:, :ids]].sum(axis=1)

    rows = _ids(work)
    return gathering(_table(), IDS), gathering(_table(), rows.shape[1]), rows


def _global(work: float) -> tuple[object, object, NDArray[Any]]:
    rows = _ids(work)
    TABLES.update(base=_table(), candidate=_table())
    ids = rows.shape[1]
    return (
        lambda batch: TABLES["base"][batch[:, :IDS]].sum(axis=1),
        lambda batch: TABLES["candidate"][batch[:, :ids]].sum(axis=1),
        rows,
    )


def _dense(work: float) -> tuple[object, object, NDArray[Any]]:
    def dense(units: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
        random = np.random.default_rng(0)
        first = random.random((UNITS, units), np.float32)
        second = random.random((units, UNITS), np.float32)
        return lambda batch: np.maximum(batch @ first, 0) @ second

    rows = np.random.default_rng(1).random((ROWS, UNITS), np.float32)
    return dense(UNITS), dense(round(UNITS * work)), rows


def _keras(work: float) -> tuple[object, object, NDArray[Any]]:
    from pytest_dlperf.targets.keras_models import dense_classifier

    rows = np.random.default_rng(1).random((ROWS, 784), np.float32)
    models = (dense_classifier(784, round(512 * each), 10, 0) for each in (1, work))
    return (*models, rows)


KINDS: Final[dict[str, Callable[[float], tuple[object, object, NDArray[Any]]]]] = {
    "gather": _gather,
    "dense": _dense,
    "keras": _keras,
    "global": _global,
}


if __name__ == "__main__":
    main()
