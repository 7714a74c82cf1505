"""The machine class and the environment, read from a made-up machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dlperf.machine import environment, machine_class

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> None:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_machine_with_two_gpus(tmp_path: Path) -> None:
    """Processor, quota, memory limit, accelerators and driver make the class."""
    write(tmp_path / "proc/cpuinfo", "model name\t: Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "100000 100000\n")
    write(tmp_path / "sys/fs/cgroup/memory.max", str(6 << 30))
    for slot in ("0000:01:00.0", "0000:02:00.0"):
        gpu = tmp_path / "proc/driver/nvidia/gpus" / slot / "information"
        write(gpu, "Model: \t\t NVIDIA H200\nIRQ: 1\n")
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu\n"
    write(tmp_path / "proc/driver/nvidia/version", version)

    detected = machine_class(tmp_path)

    assert detected.cpu == "Intel Xeon E5-2680 v4"
    assert (detected.cores, detected.memory) == (1, 8)
    assert (detected.accelerators, detected.driver) == ("2x NVIDIA H200", "570.86.15")
    assert detected.slug == "intel-xeon-e5-2680-v4-1cpu-8gib-2x-nvidia-h200-570.86.15"


def test_an_unreadable_machine(tmp_path: Path) -> None:
    """Where nothing can be read there is still a class, without accelerators."""
    detected = machine_class(tmp_path)

    assert detected.cores >= 1
    assert (detected.accelerators, detected.driver) == ("", "")
    assert detected.slug


def test_thread_settings_belong_to_the_environment() -> None:
    """Variables that fix the number of threads are recorded, others are not."""
    detected = environment({"OMP_NUM_THREADS": "2", "HOME": "/root", "TF_NUM_INTRAOP_THREADS": "1"})

    assert detected.threads == "TF_NUM_INTRAOP_THREADS=1 OMP_NUM_THREADS=2"
    assert detected.numpy
    assert detected.precision == "float32"
