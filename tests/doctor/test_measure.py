"""Measuring noise: on fake processes and a fake clock, and once on real ones."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from fakes import FakeClock, FakeProgress

from pytest_dlperf.doctor import measure as doctor
from pytest_dlperf.doctor.measure import (
    LENGTHS,
    PairSampler,
    ProcessPair,
    fresh_pair,
    measure_noise,
    measure_timer,
    read_host,
    worker_environment,
)
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.worker_process import WorkerLost
from pytest_dlperf.errors import UsageError
from pytest_dlperf.measure.slots import Slot
from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NS = 1_000_000_000


@dataclass
class FakeStarter:
    """Starts fake pairs, and records their slots."""

    starting: float = 5.0
    fails_at: int | None = None
    clock: FakeClock = field(default_factory=FakeClock)
    slots: list[tuple[int, str, float, int]] = field(default_factory=list)
    """Pair, process, seconds and number of each slot."""
    open: int = 0
    started: int = 0

    @contextlib.contextmanager
    def start(self) -> Iterator[ProcessPair]:
        """Start a pair, which takes `starting` seconds."""
        pair, self.started = self.started, self.started + 1
        self.clock.now += int(self.starting * NS)
        self.open += 1
        try:
            workers = (FakeWorker(self, pair, "A"), FakeWorker(self, pair, "B"))
            yield ProcessPair(workers, FakeMeter(self.clock))
        finally:
            self.open -= 1

    def measure(self, seconds: float = 60.0) -> PairSampler:
        """Measure all pairs."""
        rng = np.random.default_rng(0)
        sampler = PairSampler(self.start, self.clock, rng, FakeProgress())
        sampler.measure(seconds)
        return sampler


@dataclass
class FakeWorker:
    """Measures all of a slot but 1 ms, and returns 2 ms after it."""

    starter: FakeStarter
    pair: int
    name: str

    def slot(self, seconds: float, number: int) -> Slot:
        """Let the time pass."""
        slots = self.starter.slots
        if len(slots) == self.starter.fails_at:
            raise WorkerLost("the base side died", "")
        slots.append((self.pair, self.name, seconds, number))
        self.starter.clock.now += round((seconds + 0.002) * NS)
        good = 1000 if self.name == "A" else 500
        return Slot(good, good, 0, seconds - 0.001, np.zeros(0))


@dataclass
class FakeMeter:
    """Two processors: one is used, and the host takes a tenth of the other."""

    clock: FakeClock

    def usage(self) -> Usage:
        """By the clock."""
        now = self.clock.now / NS
        return Usage(process=now, busy=now, stolen=0.1 * now, total=2 * now)

    def resident_bytes(self) -> int:
        """Nothing."""
        return 0


def test_four_pairs_in_a_minute() -> None:
    """If they start quickly, four pairs are measured in the given time."""
    starter = FakeStarter()
    begun = starter.clock.now
    sampler = starter.measure()

    assert sampler.starting == pytest.approx([5.0] * 4)
    assert {sample.block.pair for sample in sampler.blocks} == {0, 1, 2, 3}
    assert (starter.clock.now - begun) / NS == pytest.approx(60.0, abs=2.0)
    assert starter.open == 0


def test_three_pairs_where_starting_takes_long() -> None:
    """Three pairs are measured in any case, each for 4 s."""
    starter = FakeStarter(starting=30.0)
    sampler = starter.measure()

    assert len(sampler.starting) == 3
    seconds = Counter[int]()
    for sample in sampler.blocks:
        seconds[sample.block.pair] += sample.block.seconds
    assert list(seconds.values()) == pytest.approx([4.0] * 3, abs=0.5)


def test_blocks_are_four_slots_in_random_order() -> None:
    """ABBA and BAAB are equally frequent; the four slots have one length and number."""
    starter = FakeStarter()
    sampler = starter.measure()

    slots = starter.slots
    blocks = [slots[start : start + 4] for start in range(0, len(slots), 4)]
    orders = Counter("".join(name for _, name, _, _ in block) for block in blocks)
    assert set(orders) == {"ABBA", "BAAB"}
    assert abs(orders["ABBA"] - orders["BAAB"]) < 4 * len(blocks) ** 0.5
    assert all(len({slot[2:] for slot in block}) == 1 for block in blocks)
    assert [block[0][3] for block in blocks] == list(range(len(sampler.blocks)))


def test_base_and_candidate_in_any_order() -> None:
    """A is the base in every block, whichever came first."""
    for sample in FakeStarter().measure().blocks:
        assert (sample.block.base.good, sample.block.candidate.good) == (2000, 1000)


def test_each_length_gets_its_time() -> None:
    """In each pair, all lengths are measured for the same time, to within one block."""
    sampler = FakeStarter().measure()
    for pair in range(4):
        spent = dict.fromkeys(LENGTHS, 0.0)
        for sample in sampler.blocks:
            if sample.block.pair == pair:
                assert sample.block.seconds == pytest.approx(4 * (sample.length + 0.002))
                spent[sample.length] += sample.block.seconds
        assert max(spent.values()) - min(spent.values()) < 4 * 0.102 + 1e-6


def test_usage_is_that_of_measuring() -> None:
    """Starting does not count."""
    sampler = FakeStarter().measure()
    measuring = sum(sample.block.seconds for sample in sampler.blocks)

    assert sampler.used.process == pytest.approx(measuring)
    assert sampler.used.stolen_share == pytest.approx(0.05)


def test_a_lost_process() -> None:
    """It is an error, and the pair is closed."""
    starter = FakeStarter(fails_at=10)
    with pytest.raises(WorkerLost, match="the base side died"):
        starter.measure()

    assert starter.open == 0
    assert starter.started == 1


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


def test_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error at once, with the interpreter and what to do."""
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="TensorFlow is not installed") as caught:
        measure_noise(FakeProgress(), np.random.default_rng(0))

    assert caught.value.hint == "install it there: python -m pip install tensorflow"


def test_environments_of_workers() -> None:
    """The user's variables stay; GPUs are hidden, and the memory layout is random."""
    environments = [worker_environment({"HOME": "/home", "PYTHONHASHSEED": "1"}) for _ in range(10)]

    assert {environment["HOME"] for environment in environments} == {"/home"}
    assert {environment["PYTHONHASHSEED"] for environment in environments} == {"1"}
    assert {environment["CUDA_VISIBLE_DEVICES"] for environment in environments} == {"-1"}
    assert len({len(environment["DLPERF_PADDING"]) for environment in environments}) > 1
    assert len({worker_environment({})["PYTHONHASHSEED"] for _ in range(10)}) > 1


@pytest.mark.tensorflow
def test_real_processes() -> None:
    """A fresh pair measures slots of the reference architecture, and leaves nothing behind."""
    with CleanupProcess() as cleanup:
        with fresh_pair(cleanup, np.random.default_rng(0)) as pair:
            slots = [worker.slot(0.02, 1) for worker in pair.workers]
            used = pair.meter.usage()
        assert [slot.bad for slot in slots] == [0, 0]
        assert all(slot.good > 0 and slot.seconds > 0 for slot in slots)
        assert used.process > 1.0
        assert [child.pid for child in psutil.Process().children()] == [cleanup.pid]
    assert psutil.Process().children() == []
