"""Diagnosis: where the time of a request went, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.units import format_quantity

if TYPE_CHECKING:
    from pytest_dlperf.core.samples import Samples

_WAITING_SHARE: Final = 0.25
_BUSY_SHARE: Final = 0.2


def diagnose(samples: Samples, busy_cores: float) -> str:
    """Queue and service time, batch size, and whether the target computes or waits.

    Args:
        samples: at least one batch.
        busy_cores: processors that the process kept busy meanwhile, on average.
    """
    queue = format_quantity(float(np.median(samples.queue_ns)) * 1e-9, "s")
    service = format_quantity(float(np.median(samples.service_ns)) * 1e-9, "s")
    text = (
        f"median {queue} in the queue and {service} in the target, "
        f"{float(samples.size.mean()):.1f} requests a call, {busy_cores:.2f} cores busy"
    )
    span_ns = max(1, int(samples.done_ns.max()) - samples.started_ns)
    in_target = float(samples.service_ns.sum()) / span_ns
    if in_target > _BUSY_SHARE and busy_cores < _WAITING_SHARE * in_target:
        text += "; the target waits (sleep, I/O, a lock) rather than computes"
    return text
