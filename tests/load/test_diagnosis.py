"""Diagnosis: where the time went, in words."""

from __future__ import annotations

import pytest
from builders import make_samples, tally_of

from pytest_dlperf.load.quality import diagnose

MS = 1_000_000


def test_text_by_hand() -> None:
    """Median queue and service times, mean batch and busy cores are said, with units."""
    samples = make_samples(
        [3, 1],
        [10 * MS, 20 * MS],
        dispatched_ns=[4 * MS, 12 * MS],
        intended_ns=[0, 1 * MS, 2 * MS, 11 * MS],
    )
    # Queues: 4, 3, 2 and 1 ms; service: 6 and 8 ms.
    assert diagnose(tally_of(samples), 1.5) == (
        "median 2.5 ms in the queue and 7 ms in the target, 2.0 requests a call, "
        "replica 70 % busy, 1.50 cores busy"
    )


@pytest.mark.parametrize(
    ("service_ms", "busy_cores", "waits"),
    [
        (9, 0.1, True),  # in the target nine tenths of the time, and nothing computes
        (9, 0.9, False),
        (9, 0.3, False),
        (1, 0.0, False),  # hardly in the target at all: it is the load that waits
    ],
)
def test_waiting_is_told_from_computing(service_ms: int, busy_cores: float, *, waits: bool) -> None:
    """A target that is busy while no processor is waits, and that is said."""
    starts = [10 * MS * i for i in range(10)]
    samples = make_samples(
        [1] * 10, [start + service_ms * MS for start in starts], dispatched_ns=starts
    )
    assert ("rather than computes" in diagnose(tally_of(samples), busy_cores)) is waits


def test_an_instant() -> None:
    """A run that took no time is described, not divided by."""
    assert diagnose(tally_of(make_samples([1], [0])), 0.0).startswith("median 0 ns")
