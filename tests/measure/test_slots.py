"""Slots: what a short run comes to, its guard time left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_samples

from pytest_dlperf.load.samples import Outcome
from pytest_dlperf.measure.slots import Slot, slot_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_dlperf.load.samples import Samples

MILLISECOND = 1_000_000


def back_to_back(
    calls: int, rows: int = 4, *, outcome: Iterable[int] | None = None, per_query: int = 1
) -> Samples:
    """Calls of 1 ms each, one after the other, of requests that were due when theirs began."""
    begins = [call * MILLISECOND for call in range(calls)]
    return make_samples(
        [rows] * calls,
        [begin + MILLISECOND for begin in begins],
        dispatched_ns=begins,
        intended_ns=np.repeat(begins, rows).tolist(),
        outcome=outcome,
        per_query=per_query,
    )


def outcomes(requests: int, bad: Sequence[int], how: Outcome = Outcome.EXCEPTION) -> list[int]:
    """Good answers, and some bad ones."""
    return [how if request in bad else Outcome.OK for request in range(requests)]


@pytest.mark.parametrize(
    ("calls", "guard"), [(1, 0), (2, 0), (3, 1), (5, 1), (6, 2), (7, 2), (9, 3), (100, 3)]
)
def test_the_first_calls_do_not_count(calls: int, guard: int) -> None:
    """Those of 3 ms are left out, or a third if that is less; time and requests alike."""
    slot = slot_of(back_to_back(calls), None, latencies=True)

    assert slot.good == slot.within == 4 * (calls - guard)
    assert slot.seconds == pytest.approx((calls - guard) * 1e-3)
    assert len(slot.latencies) == slot.good


def test_slow_first_calls_change_nothing() -> None:
    """However long the guard calls took: the slot is as without them."""
    begins = [0, 50 * MILLISECOND, *((60 + call) * MILLISECOND for call in range(6))]
    samples = make_samples(
        [4] * 8,
        [*begins[1:3], *(begin + MILLISECOND for begin in begins[2:])],
        dispatched_ns=begins,
        intended_ns=np.repeat(begins, 4).tolist(),
    )

    slot = slot_of(samples, None, latencies=True)

    assert (slot.good, slot.seconds) == (24, pytest.approx(6e-3))
    assert slot.latencies == pytest.approx(1e-3)


def test_guard_calls_are_those_sent_first() -> None:
    """With several replicas the guard calls are those sent first, not those answered first."""
    # The last two in the columns were sent first, and took 9 ms.
    sent = [2, 3, 4, 5, 0, 1]
    samples = make_samples(
        [1] * 6,
        [(begin + (1 if begin > 1 else 9)) * MILLISECOND for begin in sent],
        dispatched_ns=[begin * MILLISECOND for begin in sent],
        intended_ns=[begin * MILLISECOND for begin in sent],
    )

    slot = slot_of(samples, None, latencies=True)

    assert slot.good == 4
    assert slot.seconds == pytest.approx(4e-3)
    assert slot.latencies == pytest.approx(1e-3)


@pytest.mark.parametrize("how", [Outcome.EXCEPTION, Outcome.WRONG_SHAPE])
def test_bad_answers(how: Outcome) -> None:
    """Bad answers are not good, have no latency, but take time; even in the guard time."""
    slot = slot_of(
        back_to_back(8, outcome=outcomes(32, bad=[0, 20, 21], how=how)), None, latencies=True
    )

    assert slot.bad == 3
    assert slot.good == slot.within == len(slot.latencies) == 22
    assert slot.seconds == pytest.approx(6e-3)


def test_nothing_but_bad_answers() -> None:
    """A slot without a good answer has its time all the same, and no latencies."""
    slot = slot_of(back_to_back(8, outcome=outcomes(32, bad=range(32))), 0.1, latencies=True)

    assert (slot.good, slot.within, slot.bad) == (0, 0, 32)
    assert slot.seconds == pytest.approx(6e-3)
    assert slot.latencies.shape == (0,)


def test_latencies_count_from_when_requests_were_due() -> None:
    """From due to done, not from sent to done; in seconds, request by request."""
    due = [0, 0, 0, 0, 1, 2, 3, 4]
    samples = make_samples(
        [2, 2, 2, 2],
        [10 * MILLISECOND, 11 * MILLISECOND, 12 * MILLISECOND, 13 * MILLISECOND],
        dispatched_ns=[9 * MILLISECOND, 10 * MILLISECOND, 11 * MILLISECOND, 12 * MILLISECOND],
        intended_ns=[when * MILLISECOND for when in due],
    )

    slot = slot_of(samples, 0.0105, latencies=True)

    assert slot.latencies == pytest.approx([0.011, 0.011, 0.011, 0.010, 0.010, 0.009])
    assert slot.within == 3
    assert slot.good == 6


def test_within_the_limit_counts_what_is_just_in_time() -> None:
    """The limit itself is in time; nothing is below half of it."""
    samples = back_to_back(8)

    assert slot_of(samples, 0.001, latencies=True).within == 24
    assert slot_of(samples, 0.0005, latencies=True).within == 0


def test_no_latencies_where_they_mean_nothing() -> None:
    """Offline, say: requests count, their latencies are left out."""
    slot = slot_of(back_to_back(8), None, latencies=False)

    assert slot.good == 24
    assert slot.latencies.shape == (0,)


def queries(outcome: Iterable[int] | None = None) -> Samples:
    """Seven queries of 4 samples in calls of 2, and a half one; 3 ms from due to the last."""
    begins = [call * MILLISECOND for call in range(15)]
    return make_samples(
        [2] * 15,
        [begin + 2 * MILLISECOND for begin in begins],
        dispatched_ns=begins,
        intended_ns=[request // 4 * 2 * MILLISECOND for request in range(30)],
        outcome=outcome,
        per_query=4,
    )


def test_a_query_takes_as_long_as_its_last_sample() -> None:
    """One latency a query, 3 ms though half of its samples took 2; none for half a query."""
    slot = slot_of(queries(), None, latencies=True)

    assert slot.latencies == pytest.approx([0.003] * 5)
    assert slot.good == 24


def test_a_query_that_is_partly_bad_has_no_latency() -> None:
    """One bad sample of four: the query is left out, its good samples still count."""
    slot = slot_of(queries(outcomes(30, bad=[13])), None, latencies=True)

    assert len(slot.latencies) == 4
    assert (slot.good, slot.bad) == (23, 1)


def test_time_is_positive() -> None:
    """Even if the clock has not moved: costs are logarithms of it."""
    slot = slot_of(make_samples([1], [0]), None, latencies=True)

    assert slot.seconds == pytest.approx(1e-9)
    assert slot.good == 1


def test_joined() -> None:
    """Two intervals as one: sums, and all latencies in the order of time."""
    first = Slot(good=10, within=8, bad=1, seconds=0.5, latencies=np.array([0.1, 0.2]))
    second = Slot(good=20, within=7, bad=2, seconds=0.25, latencies=np.array([0.3]))

    both = first.joined(second)

    assert (both.good, both.within, both.bad, both.seconds) == (30, 15, 3, 0.75)
    assert both.latencies.tolist() == [0.1, 0.2, 0.3]


def test_unanswered_requests_have_the_slots_length() -> None:
    """Unanswered requests count with the length of the slot: a slow side's tail shows."""
    samples = replace(back_to_back(8), unfinished=3)

    slot = slot_of(samples, None, latencies=True)

    assert sorted(slot.latencies)[-3:] == pytest.approx([8e-3] * 3)
    assert len(slot.latencies) == slot.good + 3
    assert slot.bad == 0
    assert not len(slot_of(samples, None, latencies=False).latencies)


def test_rejected_requests_are_bad() -> None:
    """Rejected requests are bad."""
    assert slot_of(replace(back_to_back(8), rejected=5), None, latencies=True).bad == 5
