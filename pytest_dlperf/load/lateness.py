"""Lateness: whether the load generator itself kept its schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from pytest_dlperf.load.totals import Tally

LATE_NS: Final = 1_000_000
"""An idle replica that wakes later than this for a request has added to its latency."""

ALLOWED_SHARE: Final = 0.01
"""More late wake-ups than this and the latencies are the machine's, not the target's."""


def lateness(tally: Tally) -> str:
    """Why the run's speeds say nothing, or an empty text.

    Only waking counts: a request that waits because every replica is busy waits for the target,
    and that is what a load test measures.
    """
    wakes = tally.wakes
    if not wakes.late or wakes.late <= ALLOWED_SHARE * tally.calls:
        return ""
    worst = format_quantity(wakes.worst_ns * 1e-9, "s")
    return (
        f"the load generator woke more than 1 ms late for {wakes.late} of {tally.calls} calls "
        f"(worst {worst}): the machine was busy with something else"
    )
