"""Quality of a run in words: drift, overload, leaks, generator lateness, and a diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.trend import relative_trend, trend
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.load.totals import LoadTotals


_LARGE: Final = 0.1
_MOSTLY: Final = 0.5
_LEAK_BYTES: Final = 64 << 20
_NS: Final = 1e-9
_WAITING_SHARE: Final = 0.25  # cores busy per replica in a call; one that computes has 1 or more
_BUSY_SHARE: Final = 0.2  # below it the generator's own processor time blurs that share
LATE_NS: Final = 1_000_000
"""An idle replica that wakes later than this for a request distorts its latency."""
ALLOWED_SHARE: Final = 0.01
"""Share of calls with a late wake-up above which a run is invalid."""


def drift(totals: LoadTotals) -> str:
    """Message if the rate of answers of a closed loop rose or fell by 10 % or more, else empty."""
    rates = totals.blocks.requests / np.maximum(totals.blocks.seconds(totals.started_ns), _NS)
    change = relative_trend(rates)
    if abs(change) < _LARGE:
        return ""
    # A line through a rate that collapses may end below nothing.
    return (
        f"the rate drifted by {max(change, -1):+.0%} during the run: it was not in a steady state"
    )


def shortfall(totals: LoadTotals) -> str:
    """Message if the answers of an open loop fell behind its arrivals, else empty."""
    if totals.kept_up:
        return ""
    came = format_quantity(totals.total / totals.seconds, "1/s")
    answered = format_quantity(totals.in_time / totals.seconds, "1/s")
    return f"overloaded: {came} came, {answered} were answered in time"


def growth(resident: Sequence[int], requests: int) -> str:
    """Message if memory grew steadily, by 64 MiB or more, else empty.

    The first quarter of the run is left out: memory that is allocated once is not a leak.
    `resident` holds the process's resident bytes at equal distances of time.
    """
    grown = trend(np.array(resident[len(resident) // 4 :], np.float64))
    if grown < _LEAK_BYTES:
        return ""
    total = format_quantity(grown, "bytes")
    each = format_quantity(grown / max(1, requests), "bytes")
    return f"memory grew steadily by {total} ({each} a request): the target may leak"


def diagnose(totals: LoadTotals, busy_cores: float) -> str:
    """Queueing and service time, batch size, and whether the target computes or waits.

    The totals need at least one call; `busy_cores` is a mean over the run.
    """
    queue = format_quantity(totals.queue_ns * 1e-9, "s")
    service = format_quantity(totals.service_ns * 1e-9, "s")
    text = (
        f"median {queue} in the queue and {service} in the target, "
        f"{totals.answered / totals.calls:.1f} requests a call, "
        f"{_busy(totals.utilisation)}, {busy_cores:.2f} cores busy"
    )
    in_target = sum(totals.utilisation)
    if in_target > _BUSY_SHARE and busy_cores < _WAITING_SHARE * in_target:
        text += "; the target waits (sleep, I/O, a lock) rather than computes"
    return text


def _busy(utilisation: tuple[float, ...]) -> str:
    low, high = (f"{100 * share:.0f}" for share in (min(utilisation), max(utilisation)))
    shares = high if low == high else f"{low} to {high}"
    return f"{'replica' if len(utilisation) == 1 else 'replicas'} {shares} % busy"


def clients_ran_out(totals: LoadTotals, clients: int) -> str:
    """Reason why the speeds of an open loop of real clients are invalid, or an empty text.

    A request that waits until a client is free waits for the load generator, not for the target.

    Args:
        totals: totals with at least one call.
        clients: the most requests in flight at once.
    """
    if totals.sent_late <= ALLOWED_SHARE * totals.calls:
        return ""
    late = f"{totals.sent_late} of {totals.calls} requests were sent more than 1 ms late"
    if sum(totals.utilisation) > _MOSTLY * clients:
        return f"{late}: {clients} clients are too few; Serving(replicas=...) gives more"
    return f"{late}: the clients' own code, or the machine, was busy with something else"


def lateness(totals: LoadTotals) -> str:
    """Reason why the speeds of a run are invalid, or an empty text.

    Only late wake-ups of idle replicas count: a request that waits while every replica is busy
    waits for the target, which is what a load test measures.
    """
    wake_ups = totals.wake_ups
    if not wake_ups.late or wake_ups.late <= ALLOWED_SHARE * totals.calls:
        return ""
    worst = format_quantity(wake_ups.worst_ns * 1e-9, "s")
    return (
        f"the load generator woke more than 1 ms late for {wake_ups.late} of {totals.calls} calls "
        f"(worst {worst}): the machine was busy with something else"
    )
