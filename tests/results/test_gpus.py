"""GPUs: what they did during a run."""

from __future__ import annotations

from typing import Any

from pytest_dlperf.results.usage import GpuReading, GpuUse, gpu_notes, summarise_gpus

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


def test_what_a_gpu_does_not_tell_is_left_out() -> None:
    """One answer of two is enough; none is None, never zero."""
    looks = [
        [reading(utilisation=None, used_bytes=None, clock_hz=None)],
        [reading(utilisation=None, used_bytes=7, clock_hz=None)],
    ]

    (use,) = summarise_gpus(looks, MINE)

    assert (use.utilisation, use.peak_bytes, use.lowest_clock_hz) == (None, 7, None)


def test_only_the_gpus_that_were_used_count() -> None:
    """Those with the run's own processes on them, whatever the others do."""
    others = reading(index=1, utilisation=1.0, processes=frozenset({77}))

    assert [use.index for use in summarise_gpus([[others, reading()]], MINE)] == [0]


def test_in_a_container_processes_cannot_be_told_apart() -> None:
    """There, the driver's numbers are the host's: busy GPUs count, and nobody is accused."""
    strange = frozenset({4711})
    look = [reading(processes=strange), reading(index=1, utilisation=0.0, processes=strange)]

    (use,) = summarise_gpus([look], MINE)

    assert (use.index, use.others) == (0, None)
    assert list(gpu_notes([use])) == []


def test_nothing_was_read() -> None:
    """A run too short for a look has no GPUs."""
    assert summarise_gpus([], MINE) == ()


def test_notes_name_the_gpu_and_the_reason() -> None:
    """Other processes and throttling are said; a quiet GPU is not mentioned."""
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
