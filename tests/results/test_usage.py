"""Usage: who took the processors during a run."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_dlperf.results.usage import (
    Consumption,
    GpuReading,
    GpuUse,
    Usage,
    consumption,
    disturbance,
    gpu_notes,
    noise_note,
    summarise_gpus,
)

OTHERS = "the machine was not quiet: other processes"


def test_differences_and_sums() -> None:
    """Each counter is subtracted and added."""
    assert Usage(5, 9, 2, 40).since(Usage(1, 3, 1, 20)) == Usage(4, 6, 1, 20)
    assert Usage(1, 2, 3, 4).plus(Usage(10, 20, 30, 40)) == Usage(11, 22, 33, 44)
    assert Usage(5, 9, 2, 40, 3).since(Usage(1, 3, 1, 20, 1)) == Usage(4, 6, 1, 20, 2)
    assert Usage(1, 2, 3, 4, 5).plus(Usage(10, 20, 30, 40)).waited is None


@pytest.mark.parametrize(
    ("used", "text"),
    [
        (Usage(8, 8.5, 0.1, 20), ""),
        (
            Usage(8, 12, 0, 20),
            f"{OTHERS} took 20% of its processors",
        ),
        (Usage(8, 8, 1, 20), "the machine was not quiet: its host took 5%"),
        (
            Usage(0, 10, 2, 20),
            f"{OTHERS} took 50% of its processors and its host took 10%",
        ),
        (Usage(0, 0.9, 0.9, 0.9), ""),  # too short to tell
        (Usage(8, 7.9, 0, 20), ""),  # the two counters never agree to the last step
    ],
)
def test_disturbance(used: Usage, text: str) -> None:
    """Other processes and the host are named with their shares, each from its threshold on."""
    assert disturbance(used) == text


@pytest.mark.parametrize(
    ("used", "lost"),
    [
        (Usage(5, 5, 0, 10, 0.0), 0.0),
        # One thread that shared its processor with another half of the time, or had none to share.
        (Usage(5, 10, 0, 10, 5.0), 0.5),
        (Usage(5, 10, 0, 10, 0.0), 0.0),
        # Threads that wait for one another: no more than others ran can be theirs.
        (Usage(8, 8.2, 0, 10, 30.0), 0.2 / 8.2),
        (Usage(8, 7.9, 0, 10, 30.0), 0.0),
        # What the host took is shared by all that ran.
        (Usage(4, 8, 2, 12, 0.0), 0.2),
        (Usage(0, 0, 2, 12, 0.0), 0.0),
        (Usage(5, 10, 0, 10), None),
        (Usage(0.4, 0.9, 0, 0.9, 0.4), None),
    ],
)
def test_lost_share(used: Usage, lost: float | None) -> None:
    """Of what the run wanted, what others had: not of all processors, of which it may use one."""
    assert used.lost_share == (None if lost is None else pytest.approx(lost))


def test_a_neighbour_takes_half_of_the_only_processor_that_is_used() -> None:
    """Of eight processors it took 6 %, which is quiet; of what the run wanted, half."""
    used = Usage(5, 10, 0, 80, 5)

    assert used.others_share == pytest.approx(0.0625)
    assert disturbance(used) == (
        "the machine was not quiet: others had 50% of the processor time that the run wanted"
    )


def test_consumption_by_hand() -> None:
    """Processor time a request, memory in the end and at the most, and the shares of others."""
    used_by_run = consumption(Usage(8, 12, 1, 20), 1.6, [100, 300, 200], requests=4000)

    assert used_by_run == Consumption(
        cpu_per_request=0.002,
        busy_cores=1.6,
        resident_bytes=200,
        peak_bytes=300,
        others=0.2,
        stolen=0.05,
    )


def test_a_short_run_says_nothing_of_others() -> None:
    """Below a second of processor time the counters are too coarse for shares."""
    used_by_run = consumption(Usage(0.4, 0.9, 0, 0.9), 1.0, [100], requests=1)

    assert (used_by_run.others, used_by_run.stolen) == (None, None)


@pytest.mark.parametrize(
    ("others", "stolen", "text"),
    [
        (None, None, ""),
        (0.19, 0.049, ""),
        (0.34, 0.0, "the machine was not quiet: other processes took 34% of its processors"),
        (0.0, 0.07, "the machine was not quiet: its host took 7%"),
    ],
)
def test_noise_note(others: float | None, stolen: float | None, text: str) -> None:
    """Speeds are not judged from 20 % of others or 5 % of the host on."""
    assert noise_note(Consumption(0.001, 1.0, 1, 1, others, stolen)) == text


def test_time_that_the_run_wanted() -> None:
    """Nor from 5 % of it on."""
    few, many = (Consumption(0.001, 1.0, 1, 1, 0.0, 0.0, lost) for lost in (0.049, 0.07))
    assert noise_note(few) == ""
    assert noise_note(many).endswith("others had 7% of the processor time that the run wanted")


MINE = frozenset({10, 11})


def reading(**fields: Any) -> GpuReading:  # noqa: ANN401 - any field
    """A look at a GPU that this process uses."""
    given = {
        "index": 0,
        "name": "H200",
        "utilisation": 0.5,
        "used_bytes": 1000,
        "clock_hz": 1_500_000_000,
        "throttled": frozenset(),
        "processes": frozenset({10}),
    }
    return GpuReading(**{**given, **fields})


def test_readings_are_folded() -> None:
    """Mean utilisation, the most memory, both ends of the clock, every reason and process."""
    looks = [
        [reading(utilisation=0.2, clock_hz=1000, processes=frozenset({10, 11}))],
        [reading(utilisation=0.8, used_bytes=4000, throttled=frozenset({"temperature"}))],
        [reading(utilisation=0.5, clock_hz=900, processes=frozenset({10, 77}))],
    ]

    assert summarise_gpus(looks, MINE) == (
        GpuUse(
            index=0,
            name="H200",
            utilisation=0.5,
            peak_bytes=4000,
            lowest_clock_hz=900,
            highest_clock_hz=1_500_000_000,
            throttled=("temperature",),
            others=1,
        ),
    )


def test_missing_gpu_fields() -> None:
    """Fields that no reading has are None, never zero; one reading of two is enough."""
    looks = [
        [reading(utilisation=None, used_bytes=None, clock_hz=None)],
        [reading(utilisation=None, used_bytes=7, clock_hz=None)],
    ]

    (use,) = summarise_gpus(looks, MINE)

    assert (use.utilisation, use.peak_bytes, use.lowest_clock_hz) == (None, 7, None)


def test_only_the_gpus_that_were_used_count() -> None:
    """Only GPUs with the run's own processes count."""
    others = reading(index=1, utilisation=1.0, processes=frozenset({77}))

    assert [use.index for use in summarise_gpus([[others, reading()]], MINE)] == [0]


def test_gpus_in_a_container() -> None:
    """In a container process ids are the host's: busy GPUs count, without a note on others."""
    strange = frozenset({4711})
    look = [reading(processes=strange), reading(index=1, utilisation=0.0, processes=strange)]

    (use,) = summarise_gpus([look], MINE)

    assert (use.index, use.others) == (0, None)
    assert list(gpu_notes([use])) == []


def test_nothing_was_read() -> None:
    """A run too short for a reading has no GPUs."""
    assert summarise_gpus([], MINE) == ()


def test_notes_name_the_gpu_and_the_reason() -> None:
    """Other processes and throttling are noted; a quiet GPU is not mentioned."""
    looks = [
        [
            reading(processes=frozenset({10, 77, 78}), throttled=frozenset({"power cap"})),
            reading(index=1),
        ]
    ]

    assert list(gpu_notes(summarise_gpus(looks, MINE))) == [
        "GPU 0 (H200) was not quiet: 2 other processes computed on it",
        "GPU 0 (H200) was throttled: power cap",
    ]
