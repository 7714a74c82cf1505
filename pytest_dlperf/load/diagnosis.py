"""Diagnosis: where the time of a request went, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from pytest_dlperf.load.totals import Tally

_WAITING_SHARE: Final = 0.25
_BUSY_SHARE: Final = 0.2


def diagnose(tally: Tally, busy_cores: float) -> str:
    """Queue and service time, batch size, and whether the target computes or waits.

    Args:
        tally: at least one call.
        busy_cores: processors that the process kept busy meanwhile, on average.
    """
    queue = format_quantity(tally.queue_ns * 1e-9, "s")
    service = format_quantity(tally.service_ns * 1e-9, "s")
    text = (
        f"median {queue} in the queue and {service} in the target, "
        f"{tally.answered / tally.calls:.1f} requests a call, "
        f"{_busy(tally.utilisation)}, {busy_cores:.2f} cores busy"
    )
    in_target = sum(tally.utilisation)
    if in_target > _BUSY_SHARE and busy_cores < _WAITING_SHARE * in_target:
        text += "; the target waits (sleep, I/O, a lock) rather than computes"
    return text


def _busy(utilisation: tuple[float, ...]) -> str:
    low, high = (f"{100 * share:.0f}" for share in (min(utilisation), max(utilisation)))
    shares = high if low == high else f"{low} to {high}"
    return f"{'replica' if len(utilisation) == 1 else 'replicas'} {shares} % busy"
