"""The doctor at work: on fake processes and a fake clock, and once on real ones."""

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
    PairSamples,
    ProcessPair,
    examine,
    fresh_pair,
    look_at_host,
    look_at_timer,
    side_environment,
)
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.worker_handle import WorkerLost
from pytest_dlperf.errors import UsageError
from pytest_dlperf.measure.slots import Slot
from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NS = 1_000_000_000


@dataclass
class Hospital:
    """Starts fake pairs, and remembers what was asked of them."""

    starting: float = 5.0
    fails_at: int | None = None
    clock: FakeClock = field(default_factory=FakeClock)
    asked: list[tuple[int, str, float, int]] = field(default_factory=list)
    """Pair, process, seconds and number of each slot."""
    open: int = 0
    started: int = 0

    @contextlib.contextmanager
    def start(self) -> Iterator[ProcessPair]:
        """A pair whose start takes so long."""
        pair, self.started = self.started, self.started + 1
        self.clock.now += int(self.starting * NS)
        self.open += 1
        try:
            players = (FakePlayer(self, pair, "A"), FakePlayer(self, pair, "B"))
            yield ProcessPair(players, FakeFamily(self.clock))
        finally:
            self.open -= 1

    def rounds(self, seconds: float = 60.0) -> PairSamples:
        """All pairs measured."""
        coins = np.random.default_rng(0)
        return PairSampler(self.start, self.clock, coins, FakeProgress()).measure(seconds)


@dataclass
class FakePlayer:
    """Measures all of a slot but 1 ms, and is back 2 ms after it."""

    hospital: Hospital
    pair: int
    name: str

    def slot(self, seconds: float, number: int) -> Slot:
        """Let the time pass."""
        asked = self.hospital.asked
        if len(asked) == self.hospital.fails_at:
            raise WorkerLost("the base side died", "")
        asked.append((self.pair, self.name, seconds, number))
        self.hospital.clock.now += round((seconds + 0.002) * NS)
        good = 1000 if self.name == "A" else 500
        return Slot(good, good, 0, seconds - 0.001, np.zeros(0))


@dataclass
class FakeFamily:
    """Two processors: one of them is used, the host takes a tenth of the other."""

    clock: FakeClock

    def usage(self) -> Usage:
        """By the clock."""
        now = self.clock.now / NS
        return Usage(process=now, busy=now, stolen=0.1 * now, total=2 * now)

    def resident_bytes(self) -> int:
        """Nothing."""
        return 0


def test_four_pairs_in_a_minute() -> None:
    """Quick starts: four pairs, each measured for as long, in the time that was given."""
    hospital = Hospital()
    begun = hospital.clock.now
    found = hospital.rounds()

    assert found.starting == pytest.approx([5.0] * 4)
    assert {probe.block.pair for probe in found.probes} == {0, 1, 2, 3}
    assert (hospital.clock.now - begun) / NS == pytest.approx(60.0, abs=2.0)
    assert hospital.open == 0


def test_three_pairs_where_starting_takes_long() -> None:
    """Three pairs are measured whatever it takes, each for 4 s."""
    hospital = Hospital(starting=30.0)
    found = hospital.rounds()

    assert len(found.starting) == 3
    seconds = Counter[int]()
    for probe in found.probes:
        seconds[probe.block.pair] += probe.block.seconds
    assert list(seconds.values()) == pytest.approx([4.0] * 3, abs=0.5)


def test_blocks_are_four_slots_by_a_coin() -> None:
    """ABBA and BAAB come up alike; the four slots have one length and one number, its own."""
    hospital = Hospital()
    found = hospital.rounds()

    asked = hospital.asked
    blocks = [asked[start : start + 4] for start in range(0, len(asked), 4)]
    orders = Counter("".join(name for _, name, _, _ in block) for block in blocks)
    assert set(orders) == {"ABBA", "BAAB"}
    assert abs(orders["ABBA"] - orders["BAAB"]) < 4 * len(blocks) ** 0.5
    assert all(len({slot[2:] for slot in block}) == 1 for block in blocks)
    assert [block[0][3] for block in blocks] == list(range(len(found.probes)))


def test_sides_stay_apart() -> None:
    """What A did is the base's in every block, whichever came first."""
    for probe in Hospital().rounds().probes:
        assert (probe.block.base.good, probe.block.candidate.good) == (2000, 1000)


def test_each_length_gets_its_time() -> None:
    """In each pair all lengths are measured for as long, to within one block."""
    found = Hospital().rounds()
    for pair in range(4):
        spent = dict.fromkeys(LENGTHS, 0.0)
        for probe in found.probes:
            if probe.block.pair == pair:
                assert probe.block.seconds == pytest.approx(4 * (probe.length + 0.002))
                spent[probe.length] += probe.block.seconds
        assert max(spent.values()) - min(spent.values()) < 4 * 0.102 + 1e-6


def test_what_is_not_measured_of_a_slot() -> None:
    """The hand-over is what a slot takes beyond what it measures: 3 ms here."""
    found = Hospital().rounds()

    assert found.handovers == pytest.approx([0.003] * len(found.handovers))
    assert len(found.handovers) == 4 * len(found.probes)


def test_usage_is_that_of_measuring() -> None:
    """The time that starting takes is left out."""
    found = Hospital().rounds()
    measuring = sum(probe.block.seconds for probe in found.probes)

    assert found.used.process == pytest.approx(measuring)
    assert found.used.stolen_share == pytest.approx(0.05)


def test_a_lost_process_ends_it_all() -> None:
    """The loss is told, and the pair is given back."""
    hospital = Hospital(fails_at=10)
    with pytest.raises(WorkerLost, match="the base side died"):
        hospital.rounds()

    assert hospital.open == 0
    assert hospital.started == 1


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

    found = look_at_timer(now_ns, sleep)

    assert found.step == pytest.approx(40e-9)
    assert found.late == pytest.approx(70e-6, abs=1e-7)
    assert found.late_p99 == pytest.approx(3e-3, abs=1e-7)


def test_a_clock_that_stands_still() -> None:
    """Has no step, and no sleep on it is late."""
    found = look_at_timer(lambda: 5, lambda _: None)

    assert (found.step, found.late, found.late_p99) == (0.0, 0.0, 0.0)


def _files(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


CPU = "sys/devices/system/cpu"


def test_a_host_that_shows_itself(tmp_path: Path) -> None:
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
    found = look_at_host(root)

    assert (found.cpu, found.load, found.accelerators) == ("Test", 0.75, "1x Test GPU")
    assert found.governors == ("performance", "powersave")


def test_a_host_that_shows_nothing(tmp_path: Path) -> None:
    """Nothing is made up."""
    found = look_at_host(tmp_path)

    assert (found.governors, found.turbo, found.quota) == ((), None, None)
    assert (found.load, found.accelerators) == (0.0, "")
    assert 1 <= found.cores <= found.processors


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
    assert look_at_host(_files(tmp_path, {f"{CPU}/{name}": content})).turbo is turbo


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

    assert look_at_host(root).quota == quota


def test_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said at once that TensorFlow is missing, where, and what to do."""
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="TensorFlow is not installed") as caught:
        examine(FakeProgress(), np.random.default_rng(0))

    assert caught.value.hint == "install it there: python -m pip install tensorflow"


def test_processes_have_other_environments() -> None:
    """What the user has set stays; GPUs are hidden, and every process has its memory elsewhere."""
    made = [side_environment({"HOME": "/home", "PYTHONHASHSEED": "1"}) for _ in range(10)]

    assert {one["HOME"] for one in made} == {"/home"}
    assert {one["PYTHONHASHSEED"] for one in made} == {"1"}
    assert {one["CUDA_VISIBLE_DEVICES"] for one in made} == {"-1"}
    assert len({len(one["DLPERF_PADDING"]) for one in made}) > 1
    assert len({side_environment({})["PYTHONHASHSEED"] for _ in range(10)}) > 1


@pytest.mark.tensorflow
def test_real_processes() -> None:
    """A fresh pair measures slots of the reference architecture, and leaves nothing behind."""
    with CleanupProcess() as keeper:
        with fresh_pair(keeper, np.random.default_rng(0)) as launch:
            slots = [player.slot(0.02, 1) for player in launch.players]
            used = launch.meter.usage()
        assert [slot.bad for slot in slots] == [0, 0]
        assert all(slot.good > 0 and slot.seconds > 0 for slot in slots)
        assert used.process > 1.0
        assert [one.pid for one in psutil.Process().children()] == [keeper.pid]
    assert psutil.Process().children() == []
