"""Pairs of a duel, forked and started anew: seconds until both are warm, and what they measure.

    python benchmarks/starting.py [--pairs 20] [--blocks 20] [--wider 576]

On a quiet machine of two cores it takes about five minutes. Of unchanged code, and of a reference
model that is wider than at the base, it shows by each way of starting: seconds until it is warm,
the mean of the pairs' median log ratios with its standard error, how far pairs lie apart, and the
seconds of it all; and between the ways the difference of the estimates and the ratio of the
variances, each with its 95 % interval. Forked and new pairs take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from live.variants import Repository
from scipy import stats
from table import spread

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.pair_effect import log_ratio
from pytest_dlperf.duel.scheduler import measure_block
from pytest_dlperf.duel.worker_handle import STEPS
from pytest_dlperf.duel.workspace import DuelRequest, Workspace, prepare_workspace
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.report.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pytest_dlperf.duel.worker_handle import Role, WorkerHandle

SLOT_S: Final = 0.005
UNITS: Final = 512
LEAST_PAIRS: Final = 2
TEST: Final = "test_speed.py"
ROLES: Final[tuple[Role, Role]] = ("base", "candidate")


@dataclass
class Pairs:
    """What pairs of one kind have shown."""

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    @property
    def percents(self) -> NDArray[np.float64]:
        """The change in each pair."""
        return np.expm1(self.ratios) * 100


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--wider", type=int, default=576)
    given = parser.parse_args()
    if given.pairs < LEAST_PAIRS:
        parser.error(f"--pairs: {LEAST_PAIRS} or more have a spread")
    print(f"{'':<24}{'start, s':>22}{'estimate, %':>18}{'sd of pairs, %':>18}{'all, s':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for name, units in (("unchanged", UNITS), (f"{given.wider} units", given.wider)):
            repository = Repository(Path(folder) / f"units-{units}")
            if units != UNITS:
                settings = repository.tree / "settings.py"
                text = settings.read_text()
                settings.write_text(text.replace(f"UNITS = {UNITS}", f"UNITS = {units}"))
            pairs = compared(repository, given.pairs, given.blocks)
            for kind, each in pairs.items():
                show(f"{name}, {kind}", each)
            print(f"{name}, forked to new: {agreement(pairs['forked'], pairs['new'])}", flush=True)


def compared(repository: Repository, count: int, blocks: int) -> dict[str, Pairs]:
    """Measure pairs of both kinds in turn."""
    found = {"forked": Pairs(), "new": Pairs()}
    with workspace(repository.tree, repository.base) as forking:
        started = {"forked": forking, "new": replace(forking, fork_server=None)}
        for _ in range(2):  # the server has to import first, also what a first pair has imported
            with pair(forking):
                pass
        for _ in range(count):
            for kind in random.sample(sorted(started), 2):
                began = time.monotonic()
                with pair(started[kind]) as workers:
                    found[kind].seconds.append(time.monotonic() - began)
                    found[kind].ratios.append(measured(workers, blocks))
                found[kind].whole.append(time.monotonic() - began)
        if forking.fork_server is None or forking.fork_server.refusal:
            raise SystemExit("no pair was forked: see fork_server.refusal")
    return found


@contextlib.contextmanager
def workspace(tree: Path, base: str) -> Iterator[Workspace]:
    """The working tree and a worktree of its base."""
    with CleanupProcess() as cleanup, tempfile.TemporaryDirectory() as temporary:
        session: dict[str, Any] = {"temporary": temporary, "values": None, "shared": {}, "held": []}
        request = DuelRequest(
            ref=base,
            install="",
            python="",
            folder=tree,
            root=tree,
            options=("-p", "no:cacheprovider"),
            paths=(TEST,),
            in_path=False,
            ini_file=tree / "pytest.ini",
            carry=(),
            cache=None,
            timeout=120.0,
            session=session,
        )
        made = prepare_workspace(request, os.environ, cleanup, NoProgress())
        try:
            yield made
        finally:
            made.stop_forking("the end")


@contextlib.contextmanager
def pair(trees: Workspace) -> Iterator[dict[Role, WorkerHandle]]:
    """A base and a candidate that are warm."""
    workers: dict[Role, WorkerHandle] = {}
    try:
        for role in random.sample(ROLES, 2):
            workers[role] = trees.start(role, lambda _: None)
        for worker in workers.values():
            (test,) = (test["test"] for test in worker.collected()["tests"])
            worker.run(test, None)
        for worker in workers.values():
            worker.proceed()
        for step in STEPS:
            for role in random.sample(ROLES, 2):
                workers[role].start(step)
                if not workers[role].finish(step):
                    raise SystemExit(f"the {role} side cannot be measured")
        yield workers
    finally:
        for worker in workers.values():
            worker.kill()


def measured(workers: dict[Role, WorkerHandle], blocks: int) -> float:
    """The median log ratio of a pair's blocks."""
    rng, clock = np.random.default_rng(), MonotonicClock()
    ratios = [
        log_ratio(
            METRICS["throughput"],
            measure_block(
                *(workers["base"], workers["candidate"], clock, rng),
                pair=0,
                number=number,
                length=SLOT_S,
            ),
        )
        for number in range(blocks)
    ]
    return float(np.median(ratios))


def show(name: str, pairs: Pairs) -> None:
    """Print a line."""
    percents = pairs.percents
    error = percents.std(ddof=1) / math.sqrt(len(percents))
    print(
        f"{name:<24}{spread(pairs.seconds, '.2f'):>22}{percents.mean():>+11.2f} ±{error:5.2f}"
        f"{percents.std(ddof=1):>18.2f}{sum(pairs.whole):>10.0f}",
        flush=True,
    )


def agreement(forked: Pairs, new: Pairs) -> str:
    """How far two ways of starting agree: Welch's interval, and that of a ratio of variances."""
    first, second = forked.percents, new.percents
    count = len(first)
    apart = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    ratio = first.var(ddof=1) / second.var(ddof=1)
    low, high = (ratio / stats.f.ppf(share, count - 1, count - 1) for share in (0.975, 0.025))
    return (
        f"estimate {first.mean() - second.mean():+.2f} points ({apart.low:+.2f} to "
        f"{apart.high:+.2f}), variance x {ratio:.2f} ({low:.2f} to {high:.2f})"
    )


if __name__ == "__main__":
    main()
