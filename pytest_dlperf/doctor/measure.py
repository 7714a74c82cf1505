"""Doctor: measures how noisy this machine is, on pairs of processes with identical code."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.doctor.checkup import pair_seconds, wants_pair
from pytest_dlperf.doctor.noise_measurement import Host, IdenticalBlock, NoiseMeasurement, Timer
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.scheduler import measure_block
from pytest_dlperf.duel.worker_handle import WorkerHandle, WorkerProcess
from pytest_dlperf.duel.workspace import with_random_layout
from pytest_dlperf.errors import DuelError, UsageError
from pytest_dlperf.machine import machine_class
from pytest_dlperf.measure.telemetry import FamilyMeter, ProcessMeter
from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.duel.scheduler import SlotSource
    from pytest_dlperf.duel.worker_handle import Role
    from pytest_dlperf.measure.slots import Slot
    from pytest_dlperf.measure.telemetry import Meter, Progress

LENGTHS: Final = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Slot lengths that are tried, in seconds."""

SECONDS: Final = 60.0
"""About how long a checkup takes."""

_NS: Final = 1e-9
_PATIENCE: Final = 120.0
_START: Final = "from pytest_dlperf.doctor.worker import main; main()"
_READINGS: Final = 10_000
_SLEEPS: Final = 500
_SLEEP: Final = 1e-3
_CPU: Final = "sys/devices/system/cpu"
_CGROUP: Final = "sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class ProcessPair:
    """Two fresh processes with identical code, warm.

    Attributes:
        players: them.
        meter: what they and this process use.
    """

    players: tuple[SlotSource, SlotSource]
    meter: Meter


@dataclass(frozen=True, slots=True, eq=False)
class PairSamples:
    """What was measured of all pairs; see `NoiseMeasurement`."""

    probes: tuple[IdenticalBlock, ...]
    handovers: tuple[float, ...]
    used: Usage
    starting: tuple[float, ...]


class PairSampler:
    """Measures pairs, one after the other.

    Args:
        start: starts a pair, which lives as long as the context lasts.
        clock: of this process.
        coins: choose the order of each block.
        progress: somebody to tell.
    """

    def __init__(
        self,
        start: Callable[[], AbstractContextManager[ProcessPair]],
        clock: Clock,
        coins: np.random.Generator,
        progress: Progress,
    ) -> None:
        self._start = start
        self._clock = clock
        self._coins = coins
        self._progress = progress
        self._probes: list[IdenticalBlock] = []
        self._handovers: list[float] = []
        self._starting: list[float] = []
        self._used = Usage(0.0, 0.0, 0.0, 0.0)

    def measure(self, seconds: float) -> PairSamples:
        """Measure three or four pairs.

        Args:
            seconds: that all of it shall take, starting included.

        Raises:
            DlperfError: if a process is lost.
        """
        end_ns = self._clock.now_ns() + int(seconds / _NS)
        number, starting = 0, 0.0
        while wants_pair(number, self._left(end_ns), starting):
            self._progress.show(f"starting pair {number + 1}", self._left(end_ns))
            asked_ns = self._clock.now_ns()
            with self._start() as launch:
                self._starting.append((self._clock.now_ns() - asked_ns) * _NS)
                starting = max(self._starting)
                part = pair_seconds(number, self._left(end_ns), starting)
                before = launch.meter.usage()
                self._measure_pair(launch, number, part, end_ns)
                self._used = self._used.plus(launch.meter.usage().since(before))
            number += 1
        return PairSamples(
            tuple(self._probes), tuple(self._handovers), self._used, tuple(self._starting)
        )

    def _measure_pair(self, launch: ProcessPair, number: int, seconds: float, end_ns: int) -> None:
        """Blocks of all slot lengths in turn, of each for as long as of the others."""
        one, other = (_Timed(each, self._clock, self._handovers) for each in launch.players)
        spent = dict.fromkeys(LENGTHS, 0.0)
        until_ns = self._clock.now_ns() + int(seconds / _NS)
        while self._clock.now_ns() < until_ns or not all(spent.values()):
            self._progress.show(f"measuring pair {number + 1}", self._left(end_ns))
            length = min(LENGTHS, key=lambda length: spent[length])
            block = measure_block(
                *(one, other, self._clock, self._coins),
                pair=number,
                number=len(self._probes),
                length=length,
            )
            self._probes.append(IdenticalBlock(length, block))
            spent[length] += block.seconds

    def _left(self, end_ns: int) -> float:
        return max(0.0, (end_ns - self._clock.now_ns()) * _NS)


@dataclass(frozen=True, slots=True)
class _Timed:
    """A player of whom it is written down how much of each slot was not measured."""

    player: SlotSource
    clock: Clock
    handovers: list[float]

    def slot(self, seconds: float, number: int) -> Slot:
        asked_ns = self.clock.now_ns()
        slot = self.player.slot(seconds, number)
        took = (self.clock.now_ns() - asked_ns) * _NS
        self.handovers.append(max(0.0, took - slot.seconds))
        return slot


def examine(
    progress: Progress, coins: np.random.Generator, seconds: float = SECONDS
) -> NoiseMeasurement:
    """Measure this machine, on the reference architecture.

    Args:
        progress: somebody to tell.
        coins: choose the order of each block.
        seconds: that it shall take, about.

    Raises:
        UsageError: if TensorFlow is not installed.
        WorkerLost: if a process dies or hangs; with what it last wrote.
    """
    if find_spec("tensorflow") is None:
        raise UsageError(
            "the doctor measures a TensorFlow model, and TensorFlow is not installed for "
            f"{sys.executable}",
            "install it there: python -m pip install tensorflow",
        )
    clock = MonotonicClock()
    begun_ns = clock.now_ns()
    host = look_at_host()
    progress.show("looking at the timer", None)
    timer = look_at_timer(time.perf_counter_ns, time.sleep)
    with CleanupProcess() as keeper:
        rounder = PairSampler(lambda: fresh_pair(keeper, coins), clock, coins, progress)
        found = rounder.measure(seconds)
    return NoiseMeasurement(
        probes=found.probes,
        handovers=found.handovers,
        used=found.used,
        starting=found.starting,
        timer=timer,
        host=host,
        seconds=(clock.now_ns() - begun_ns) * _NS,
    )


@contextlib.contextmanager
def fresh_pair(keeper: CleanupProcess, coins: np.random.Generator) -> Iterator[ProcessPair]:
    """Two processes, for as long as the context lasts.

    They start at the same time, as in a duel, and in an order by chance: the first one may be
    slower for ever.

    Args:
        keeper: ends them at the latest.
        coins: choose the order.

    Raises:
        WorkerLost: if one of them dies or hangs; with what it last wrote.
        DuelError: if one does not come to its measurement.
    """
    roles: list[Role] = ["base", "candidate"]
    sides: dict[Role, WorkerHandle] = {}
    processes: list[int] = []
    with contextlib.ExitStack() as stack:
        for number in coins.permutation(len(roles)):
            role = roles[number]
            process = WorkerProcess(
                f"doctor's {role}",
                [sys.executable, "-P", "-c", _START],
                folder=Path(tempfile.gettempdir()),
                environment=side_environment(os.environ),
                cleanup=keeper,
            )
            stack.callback(process.kill)
            processes.append(process.pid)
            sides[role] = WorkerHandle(process, role, _ignore, _PATIENCE)
        for side in sides.values():
            side.proceed()
        for prepare in (WorkerHandle.enter, WorkerHandle.warm):
            for side in sides.values():
                if not prepare(side):
                    raise DuelError(f"the doctor's {side.role} side left its measurement")
        meter = FamilyMeter(ProcessMeter(), processes)
        yield ProcessPair((sides["base"], sides["candidate"]), meter)


def side_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a fresh process: its memory lies elsewhere, and it sees no GPU.

    Args:
        variables: of this process.
    """
    found = with_random_layout(variables)
    found.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    found["KERAS_BACKEND"] = "tensorflow"
    found["CUDA_VISIBLE_DEVICES"] = found["HIP_VISIBLE_DEVICES"] = "-1"
    return found


def _ignore(fields: Mapping[str, object]) -> None:
    """A doctor's side runs no test, so that it has nothing else to say."""


def look_at_timer(now_ns: Callable[[], int], sleep: Callable[[float], None]) -> Timer:
    """How finely time can be told, and how late a sleep of 1 ms ends.

    Args:
        now_ns: the clock.
        sleep: waits for so many seconds.
    """
    readings = np.array([now_ns() for _ in range(_READINGS)])
    steps = np.diff(readings)
    late = []
    for _ in range(_SLEEPS):
        begun_ns = now_ns()
        sleep(_SLEEP)
        late.append((now_ns() - begun_ns) * _NS - _SLEEP)
    median, p99 = np.quantile(late, (0.5, 0.99))
    moved = steps[steps > 0]
    step = int(moved.min()) if len(moved) else 0
    return Timer(step * _NS, max(0.0, float(median)), max(0.0, float(p99)))


def look_at_host(root: Path = Path("/")) -> Host:
    """The machine, as far as it shows itself.

    Args:
        root: of the file system whose `proc` and `sys` are read.
    """
    machine = machine_class(root)
    governors = {
        _read(path) for path in root.glob(f"{_CPU}/cpu[0-9]*/cpufreq/scaling_governor")
    } - {""}
    load = _read(root / "proc/loadavg").split()
    return Host(
        cpu=machine.cpu,
        processors=os.cpu_count() or machine.cores,
        cores=machine.cores,
        quota=_quota(root),
        load=float(load[0]) if load else 0.0,
        governors=tuple(sorted(governors)),
        turbo=_turbo(root),
        accelerators=machine.accelerators,
    )


def _turbo(root: Path) -> bool | None:
    no_turbo = _read(root / _CPU / "intel_pstate/no_turbo")
    boost = _read(root / _CPU / "cpufreq/boost")
    if no_turbo in {"0", "1"}:
        return no_turbo == "0"
    return boost == "1" if boost in {"0", "1"} else None


def _quota(root: Path) -> float | None:
    """Of control groups, the second version or the first."""
    limit = _read(root / _CGROUP / "cpu.max").split() or [
        _read(root / _CGROUP / "cpu/cpu.cfs_quota_us"),
        _read(root / _CGROUP / "cpu/cpu.cfs_period_us"),
    ]
    if len(limit) == 2 and all(one.isdigit() and int(one) for one in limit):  # noqa: PLR2004
        return int(limit[0]) / int(limit[1])
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
