"""Two variants, each in a process of its own, slot by slot in turn.

    in_turn.py FIRST SECOND SECONDS SEED

Prints the log ratio of the seconds a request takes, second over first, of each block of four
slots. The slots are long and the two share no process, so that nothing but the code tells them
apart; a process has its own luck with where things are in memory: ask several pairs.
"""

import contextlib
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import numpy as np

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.measure.measure import ready
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.measure.slot_runner import SlotRunner
from pytest_dlperf.measure.telemetry import ProcessMeter
from pytest_dlperf.report.progress import NoProgress

SLOT_S = 0.05
ROWS = 1024
ALONE = "--alone"


class Variant:
    """The process of one variant.

    Args:
        folder: where the variant is.
    """

    def __init__(self, folder: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this script
            [sys.executable, __file__, ALONE, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def wait(self) -> None:
        """Return when it is warm."""
        self._answer()

    def slot(self, number: int) -> tuple[float, int]:
        """Seconds, and requests that were answered in them."""
        print(number, file=self._process.stdin, flush=True)
        seconds, good = json.loads(self._answer())
        return seconds, good

    def _answer(self) -> str:
        line = next(iter(self._process.stdout or ()), "")
        if not line:
            raise SystemExit("a variant's process has ended")
        return line


def main() -> None:
    """Measure both in turn, or serve the slots of one of them."""
    if sys.argv[1] == ALONE:
        _alone(Path(sys.argv[2]))
        return
    first, second, seconds, seed = sys.argv[1:]
    with Variant(first) as one, Variant(second) as two:
        one.wait()
        two.wait()
        print(json.dumps(_blocks((one, two), float(seconds), int(seed))))


def _alone(folder: Path) -> None:
    with contextlib.suppress(OSError):
        # The true loss is to be known as well as can be, whoever else is busy.
        Path("/proc/self/autogroup").write_text("-15")
    sys.path.insert(0, str(folder))
    import target  # type: ignore[import-not-found]  # of the variant

    data = as_data((target.pixels(ROWS), None))
    instruments = Instruments(MonotonicClock(), ProcessMeter(), NoProgress())
    with ready(target.Classifier().infer, data, plan([Options()]), instruments) as subject:
        subject.measure("calibration", "", 1.0)
        runner = SlotRunner(subject.load)
        gc.collect()
        gc.freeze()
        print("warm", flush=True)
        for line in sys.stdin:
            slot = runner.slot(SLOT_S, int(line))
            print(json.dumps([slot.seconds, slot.good]), flush=True)


def _blocks(variants: tuple[Variant, Variant], seconds: float, seed: int) -> list[float]:
    coins = np.random.default_rng(seed)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        order = (0, 1, 1, 0) if coins.integers(2) else (1, 0, 0, 1)
        cost = {0: [0.0, 0.0], 1: [0.0, 0.0]}
        for who in order:
            took, good = variants[who].slot(len(found))
            cost[who][0] += took
            cost[who][1] += good
        ratio = cost[1][0] / cost[1][1] / (cost[0][0] / cost[0][1])
        found.append(float(np.log(ratio)))
    return found


if __name__ == "__main__":
    main()
