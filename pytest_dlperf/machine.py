"""Detects the machine class and the software environment."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.instrumentation import lasting_instrumentation
from pytest_dlperf.results.environment import Environment, MachineClass
from pytest_dlperf.targets.keras_backend import keras_backend, precision

if TYPE_CHECKING:
    from collections.abc import Mapping

_GIB: Final = 1 << 30
_OTHERS: Final = ("jax", "onnxruntime", "torch")
_THREAD_VARIABLES: Final = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


def machine_class(root: Path = Path("/")) -> MachineClass:
    """This machine's class, from `proc` and `sys` below `root`."""
    import psutil

    accelerators = Counter(
        match[1].strip()
        for path in sorted(root.glob("proc/driver/nvidia/gpus/*/information"))
        if (match := re.search(r"^Model:(.*)$", read_or_empty(path), re.MULTILINE))
    )
    driver = re.search(
        r"\b(\d+\.\d+(?:\.\d+)?)\b", read_or_empty(root / "proc/driver/nvidia/version")
    )
    model = re.search(
        r"^model name\s*:\s*(.+)$", read_or_empty(root / "proc/cpuinfo"), re.MULTILINE
    )
    memory = _limit(root, psutil.virtual_memory().total)
    return MachineClass(
        cpu=_plain(model[1]) if model else platform.processor() or platform.machine(),
        cores=_cores(root),
        memory=1 << max(0, (-(-memory // _GIB) - 1).bit_length()),
        accelerators=", ".join(f"{n}x {name}" for name, n in sorted(accelerators.items())),
        driver=driver[1] if driver and accelerators else "",
    )


def environment(variables: Mapping[str, str] = os.environ) -> Environment:
    """Software versions of this process, and thread settings of the environment variables."""
    return Environment(
        python=".".join(platform.python_version_tuple()[:2]),
        tensorflow=_version("tensorflow"),
        keras=_version("keras"),
        numpy=_version("numpy"),
        threads=" ".join(f"{v}={variables[v]}" for v in _THREAD_VARIABLES if variables.get(v)),
        precision=precision(),
        backend="" if keras_backend() == "tensorflow" else keras_backend(),
        frameworks=" ".join(f"{name} {_version(name)}" for name in _OTHERS if name in sys.modules),
        instrumentation=lasting_instrumentation(variables),
    )


def _cores(root: Path) -> int:
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    # A container's quota; without one the file says `max`.
    quota = read_or_empty(root / "sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():  # noqa: PLR2004 - quota and period
        return max(1, min(usable, int(quota[0]) // int(quota[1])))
    return usable


def _limit(root: Path, total: int) -> int:
    limit = read_or_empty(root / "sys/fs/cgroup/memory.max")
    return min(total, int(limit)) if limit.isdigit() else total


def _plain(model: str) -> str:
    known = re.sub(r"\((?:R|TM|tm)\)|\bCPU\b|\bProcessor\b|@.*$", " ", model)
    return " ".join(known.split())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def read_or_empty(path: Path) -> str:
    """The text of a file of `proc` or `sys`, stripped; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
