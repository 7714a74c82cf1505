"""Measuring how noisy this machine is, with pairs of processes that run identical code."""

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
from pytest_dlperf.duel.worker_handle import STEPS, WorkerHandle
from pytest_dlperf.duel.worker_process import WorkerProcess, spawn
from pytest_dlperf.duel.worker_spec import with_random_layout
from pytest_dlperf.errors import DuelError, UsageError
from pytest_dlperf.instrumentation import Instrumentation
from pytest_dlperf.machine import machine_class, read_or_empty
from pytest_dlperf.measure.telemetry import FamilyMeter, ProcessMeter
from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.duel.scheduler import SlotSource
    from pytest_dlperf.duel.worker_handle import Role
    from pytest_dlperf.measure.telemetry import Meter, Progress

LENGTHS: Final = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Slot lengths to try, in seconds."""

SECONDS: Final = 60.0
"""Approximate duration of a checkup."""

_NS: Final = 1e-9
_TIMEOUT: Final = 120.0  # importing TensorFlow and building the model take the longest
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
        workers: base and candidate.
        meter: processor time of the workers and of this process.
    """

    workers: tuple[SlotSource, SlotSource]
    meter: Meter


class PairSampler:
    """Measures pairs, one after the other.

    Args:
        start: starts a pair, for as long as the context lasts.
        clock: of this process.
        rng: chooses the order of each block.
        progress: progress display.

    Attributes:
        blocks: as in `NoiseMeasurement`, as are `starting` and `used`.
        starting: seconds that each pair took to start.
        used: processor time while blocks were measured.
    """

    def __init__(
        self,
        start: Callable[[], AbstractContextManager[ProcessPair]],
        clock: Clock,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        self._start = start
        self._clock = clock
        self._rng = rng
        self._progress = progress
        self.blocks: list[IdenticalBlock] = []
        self.starting: list[float] = []
        self.used = Usage(0.0, 0.0, 0.0, 0.0)

    def measure(self, seconds: float) -> None:
        """Measure three or four pairs.

        Args:
            seconds: in total, starting included.

        Raises:
            DlperfError: if a process is lost.
        """
        end_ns = self._clock.now_ns() + int(seconds / _NS)
        while wants_pair(
            number := len(self.starting), self._left(end_ns), max(self.starting, default=0.0)
        ):
            self._progress.show(f"starting pair {number + 1}", self._left(end_ns))
            begun_ns = self._clock.now_ns()
            with self._start() as pair:
                self.starting.append((self._clock.now_ns() - begun_ns) * _NS)
                part = pair_seconds(number, self._left(end_ns), max(self.starting))
                before = pair.meter.usage()
                self._measure_pair(pair, number, part, end_ns)
                self.used = self.used.plus(pair.meter.usage().since(before))

    def _measure_pair(self, pair: ProcessPair, number: int, seconds: float, end_ns: int) -> None:
        """Measure blocks of all slot lengths in turn, each length for the same time."""
        spent = dict.fromkeys(LENGTHS, 0.0)
        until_ns = self._clock.now_ns() + int(seconds / _NS)
        while self._clock.now_ns() < until_ns or not all(spent.values()):
            self._progress.show(f"measuring pair {number + 1}", self._left(end_ns))
            length = min(LENGTHS, key=lambda length: spent[length])
            block = measure_block(
                *(*pair.workers, self._clock, self._rng),
                pair=number,
                number=len(self.blocks),
                length=length,
            )
            self.blocks.append(IdenticalBlock(length, block))
            spent[length] += block.seconds

    def _left(self, end_ns: int) -> float:
        return max(0.0, (end_ns - self._clock.now_ns()) * _NS)


def measure_noise(
    progress: Progress, rng: np.random.Generator, seconds: float = SECONDS
) -> NoiseMeasurement:
    """Measure this machine, on the reference architecture.

    Args:
        progress: progress display.
        rng: chooses the order of each block.
        seconds: approximate duration.

    Raises:
        UsageError: if TensorFlow is not installed.
        WorkerLost: if a process dies or hangs; with its last output.
    """
    if find_spec("tensorflow") is None:
        raise UsageError(
            "the doctor measures a TensorFlow model, and TensorFlow is not installed for "
            f"{sys.executable}",
            "install it there: python -m pip install tensorflow",
        )
    clock = MonotonicClock()
    begun_ns = clock.now_ns()
    host = read_host()
    progress.show("measuring the timer", None)
    with Instrumentation().suspended():
        timer = measure_timer(time.perf_counter_ns, time.sleep)
    with CleanupProcess() as cleanup:
        sampler = PairSampler(lambda: fresh_pair(cleanup, rng), clock, rng, progress)
        sampler.measure(seconds)
    return NoiseMeasurement(
        blocks=sampler.blocks,
        used=sampler.used,
        starting=sampler.starting,
        timer=timer,
        host=host,
        seconds=(clock.now_ns() - begun_ns) * _NS,
    )


@contextlib.contextmanager
def fresh_pair(cleanup: CleanupProcess, rng: np.random.Generator) -> Iterator[ProcessPair]:
    """Two processes, for as long as the context lasts.

    Args:
        cleanup: kills them if this process cannot.
        rng: chooses the order in which they start.

    Raises:
        WorkerLost: if one of them dies or hangs; with its last output.
        DuelError: if one ends before its measurement.
    """
    roles: list[Role] = ["base", "candidate"]
    workers: dict[Role, WorkerHandle] = {}
    pids: list[int] = []
    with contextlib.ExitStack() as stack:
        # The first process may be slower for as long as it lives, so the order is random.
        for number in rng.permutation(len(roles)):
            role = roles[number]
            process = WorkerProcess(
                f"doctor's {role}",
                spawn(
                    [sys.executable, "-P", "-c", _START],
                    Path(tempfile.gettempdir()),
                    worker_environment(os.environ),
                ),
                cleanup,
            )
            stack.callback(process.kill)
            pids.append(process.pid)
            workers[role] = WorkerHandle(process, role, _ignore, _TIMEOUT)
        for worker in workers.values():
            worker.proceed()
        for step in STEPS:
            for worker in workers.values():
                worker.start(step)
            for worker in workers.values():
                if not worker.finish(step):
                    raise DuelError(f"the doctor's {worker.role} side left its measurement")
        meter = FamilyMeter(ProcessMeter(), pids)
        yield ProcessPair((workers["base"], workers["candidate"]), meter)


def worker_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a fresh process: with another memory layout, and without GPUs.

    Args:
        variables: of this process.
    """
    environment = with_random_layout(variables)
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    environment["KERAS_BACKEND"] = "tensorflow"
    environment["CUDA_VISIBLE_DEVICES"] = environment["HIP_VISIBLE_DEVICES"] = "-1"
    return environment


def _ignore(fields: Mapping[str, object]) -> None:
    """A doctor's worker runs no test, so it has no reports to forward."""


def measure_timer(now_ns: Callable[[], int], sleep: Callable[[float], None]) -> Timer:
    """Measure the resolution of the clock, and how late a sleep of 1 ms ends.

    Args:
        now_ns: the clock, in nanoseconds.
        sleep: sleeps for a number of seconds.
    """
    readings = np.array([now_ns() for _ in range(_READINGS)])
    steps = np.diff(readings)
    late = []
    for _ in range(_SLEEPS):
        begun_ns = now_ns()
        sleep(_SLEEP)
        late.append((now_ns() - begun_ns) * _NS - _SLEEP)
    median, p99 = np.quantile(late, (0.5, 0.99))
    forward = steps[steps > 0]
    step = int(forward.min()) if len(forward) else 0
    return Timer(step * _NS, max(0.0, float(median)), max(0.0, float(p99)))


def read_host(root: Path = Path("/")) -> Host:
    """Read what the operating system shows of the machine.

    Args:
        root: folder with `proc` and `sys`.
    """
    machine = machine_class(root)
    governors = {
        read_or_empty(path) for path in root.glob(f"{_CPU}/cpu[0-9]*/cpufreq/scaling_governor")
    } - {""}
    load = read_or_empty(root / "proc/loadavg").split()
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
    no_turbo = read_or_empty(root / _CPU / "intel_pstate/no_turbo")
    boost = read_or_empty(root / _CPU / "cpufreq/boost")
    if no_turbo in {"0", "1"}:
        return no_turbo == "0"
    return boost == "1" if boost in {"0", "1"} else None


def _quota(root: Path) -> float | None:
    """The limit of the control group, of version 2 or 1."""
    limit = read_or_empty(root / _CGROUP / "cpu.max").split() or [
        read_or_empty(root / _CGROUP / "cpu/cpu.cfs_quota_us"),
        read_or_empty(root / _CGROUP / "cpu/cpu.cfs_period_us"),
    ]
    if len(limit) == 2 and all(part.isdigit() and int(part) for part in limit):  # noqa: PLR2004
        return int(limit[0]) / int(limit[1])
    return None
