"""Lateness: whether the generator kept its schedule."""

from __future__ import annotations

import pytest
from builders import make_samples, tally_of
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.load.quality import lateness

MS = 1_000_000


@pytest.mark.parametrize(
    ("calls", "late_ns", "late"),
    [
        (100, [], False),
        (100, [0] * 100, False),
        (100, [MS] * 100, False),  # at the bound is in time
        (100, [MS + 1] + [0] * 99, False),  # one in a hundred is allowed
        (100, [MS + 1] * 2, True),
        (99, [MS + 1], True),
        (1000, [5 * MS] * 10, False),
        (1000, [5 * MS] * 11, True),
    ],
)
def test_bound(calls: int, late_ns: list[int], *, late: bool) -> None:
    """More than one call in a hundred woken more than 1 ms late spoils the run."""
    samples = make_samples([1] * calls, list(range(1, calls + 1)), late_ns=late_ns)
    assert bool(lateness(tally_of(samples))) is late


def test_text() -> None:
    """The reason names how many calls were late and the worst of them."""
    samples = make_samples([1] * 50, list(range(1, 51)), late_ns=[2 * MS, 30 * MS, 0])
    text = lateness(tally_of(samples))
    assert "for 2 of 50 calls" in text
    assert "worst 30 ms" in text


@given(st.lists(st.integers(0, 10 * MS), max_size=30), st.integers(1, 200))
def test_a_busy_target_is_not_late(late_ns: list[int], calls: int) -> None:
    """Only waking counts: however long requests queue, the run is as valid as its wake_ups are."""
    quick = make_samples([1] * calls, [1] * calls, late_ns=late_ns)
    slow = make_samples([1] * calls, [10**12] * calls, late_ns=late_ns)
    assert lateness(tally_of(quick)) == lateness(tally_of(slow))
    assert bool(lateness(tally_of(quick))) is (sum(ns > MS for ns in late_ns) > calls / 100)
