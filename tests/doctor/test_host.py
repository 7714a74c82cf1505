"""What the operating system shows of the machine, and its timer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.doctor.host import measure_timer, read_host

if TYPE_CHECKING:
    from pathlib import Path

NS = 1_000_000_000


def test_timer_by_hand() -> None:
    """A clock with steps of 40 ns, and sleeps that end 70 us late, each fiftieth 3 ms."""
    now, sleeps = 0, 0

    def now_ns() -> int:
        nonlocal now
        now += 10
        return now // 40 * 40

    def sleep(seconds: float) -> None:
        nonlocal now, sleeps
        sleeps += 1
        now += round((seconds + (3e-3 if sleeps % 50 == 0 else 70e-6)) * NS)

    timer = measure_timer(now_ns, sleep)

    assert timer.step == pytest.approx(40e-9)
    assert timer.late == pytest.approx(70e-6, abs=1e-7)
    assert timer.late_p99 == pytest.approx(3e-3, abs=1e-7)


def test_a_clock_that_stands_still() -> None:
    """It has no step, and no sleep is late."""
    timer = measure_timer(lambda: 5, lambda _: None)

    assert (timer.step, timer.late, timer.late_p99) == (0.0, 0.0, 0.0)


def _files(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


CPU = "sys/devices/system/cpu"


def test_host(tmp_path: Path) -> None:
    """Model, load, governors of all processors, and GPUs."""
    root = _files(
        tmp_path,
        {
            "proc/cpuinfo": "model name\t: Test(R) CPU @ 2.4GHz\n",
            "proc/loadavg": "0.75 0.5 0.25 1/100 1\n",
            "proc/driver/nvidia/gpus/0/information": "Model: \t Test GPU\n",
            f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{CPU}/cpu1/cpufreq/scaling_governor": "performance\n",
        },
    )
    host = read_host(root)

    assert (host.cpu, host.load, host.accelerators) == ("Test", 0.75, "1x Test GPU")
    assert host.governors == ("performance", "powersave")


def test_a_host_that_shows_nothing(tmp_path: Path) -> None:
    """Values are unknown or neutral."""
    host = read_host(tmp_path)

    assert (host.governors, host.turbo, host.quota) == ((), None, None)
    assert (host.load, host.accelerators) == (0.0, "")
    assert 1 <= host.cores <= host.processors


@pytest.mark.parametrize(
    ("name", "content", "turbo"),
    [
        ("intel_pstate/no_turbo", "0\n", True),
        ("intel_pstate/no_turbo", "1\n", False),
        ("cpufreq/boost", "1\n", True),
        ("cpufreq/boost", "0\n", False),
        ("cpufreq/boost", "?\n", None),
    ],
)
def test_turbo(tmp_path: Path, name: str, content: str, turbo: bool | None) -> None:  # noqa: FBT001
    """Intel's file says whether it is off, the general one whether it is on."""
    assert read_host(_files(tmp_path, {f"{CPU}/{name}": content})).turbo is turbo


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_quota(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    """Of control groups of either version, with its fraction."""
    root = _files(tmp_path, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})

    assert read_host(root).quota == quota
