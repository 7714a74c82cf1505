"""The machine, as the operating system shows it, and its timer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.doctor.noise_measurement import Host, Timer
from pytest_dlperf.machine import machine_class, read_or_empty

if TYPE_CHECKING:
    from collections.abc import Callable

_NS: Final = 1e-9
_READINGS: Final = 10_000
_SLEEPS: Final = 500
_SLEEP: Final = 1e-3
_CPU: Final = "sys/devices/system/cpu"
_CGROUP: Final = "sys/fs/cgroup"


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
