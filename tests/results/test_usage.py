"""Usage: who took the processors during a run."""

from __future__ import annotations

import pytest

from pytest_dlperf.results.usage import Consumption, Usage, consumption, disturbance, noise_note

OTHERS = "the machine was not quiet: other processes"


def test_a_difference_of_readings() -> None:
    """Each counter by itself."""
    assert Usage(5, 9, 2, 40).since(Usage(1, 3, 1, 20)) == Usage(4, 6, 1, 20)


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
def test_who_disturbed(used: Usage, text: str) -> None:
    """Others and the host are named with their shares, each only when it was enough."""
    assert disturbance(used) == text


def test_two_stretches_of_time() -> None:
    """What was used in both is the sum, each kind by itself."""
    assert Usage(1, 2, 3, 4).plus(Usage(10, 20, 30, 40)) == Usage(11, 22, 33, 44)


def test_consumption_by_hand() -> None:
    """Processor time a request, memory in the end and at the most, and the shares of others."""
    found = consumption(Usage(8, 12, 1, 20), 1.6, [100, 300, 200], requests=4000)

    assert found == Consumption(
        cpu_per_request=0.002,
        busy_cores=1.6,
        resident_bytes=200,
        peak_bytes=300,
        others=0.2,
        stolen=0.05,
    )


def test_a_short_run_says_nothing_of_others() -> None:
    """Below a second of processor time the counters are too coarse for shares."""
    found = consumption(Usage(0.4, 0.9, 0, 0.9), 1.0, [100], requests=1)

    assert (found.others, found.stolen) == (None, None)


@pytest.mark.parametrize(
    ("others", "stolen", "text"),
    [
        (None, None, ""),
        (0.19, 0.049, ""),
        (0.34, 0.0, "the machine was not quiet: other processes took 34% of its processors"),
        (0.0, 0.07, "the machine was not quiet: its host took 7%"),
    ],
)
def test_too_much_unrest(others: float | None, stolen: float | None, text: str) -> None:
    """A run is spoilt for comparisons from 20 % of others or 5 % of the host on, and not before."""
    assert noise_note(Consumption(0.001, 1.0, 1, 1, others, stolen)) == text
