"""Slots and blocks: the short measurements of a duel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.load.intervals import whole_queries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.load.samples import Samples

GUARD_CALLS: Final = 2
"""Calls at the start of a slot that do not count, at least."""

_GUARD_NS: Final = 3_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Result of one side in one slot, without its guard time.

    Attributes:
        good: requests with a good answer.
        within: good requests within the `slo`.
        bad: requests with an error, and rejected ones.
        seconds: from the end of the guard time to the last answer; positive.
        latencies: of the good queries in seconds, and the length of the slot for each request that
            still waited at its end, shape `(n,)`; empty if the scenario has none.
        waited: seconds that its threads were ready to run while others had the processors, summed
            over them; 0 where the system does not tell.
    """

    good: int
    within: int
    bad: int
    seconds: float
    latencies: NDArray[np.float64]
    waited: float = 0.0

    def to_message(self) -> tuple[dict[str, float], bytes]:
        """Numbers for JSON, and the latencies as bytes."""
        numbers = {
            "good": self.good,
            "within": self.within,
            "bad": self.bad,
            "seconds": self.seconds,
            "waited": self.waited,
        }
        return numbers, self.latencies.tobytes()

    @classmethod
    def from_message(cls, numbers: Mapping[str, Any], latencies: bytes) -> Slot:
        """The inverse of `to_message`; raises KeyError or ValueError for another message."""
        return cls(
            good=numbers["good"],
            within=numbers["within"],
            bad=numbers["bad"],
            seconds=numbers["seconds"],
            latencies=np.frombuffer(latencies, np.float64),
            waited=numbers["waited"],
        )

    def joined(self, later: Slot) -> Slot:
        """Both slots as one."""
        return Slot(
            good=self.good + later.good,
            within=self.within + later.within,
            bad=self.bad + later.bad,
            seconds=self.seconds + later.seconds,
            latencies=np.concatenate([self.latencies, later.latencies]),
            waited=self.waited + later.waited,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Four slots in the order ABBA or BAAB, chosen by a fair coin; two of each side, joined.

    `seconds` is wall-clock time, including hand-overs and guard times.
    """

    base: Slot
    candidate: Slot
    pair: int
    seconds: float


def slot_of(samples: Samples, slo: float | None, *, latencies: bool) -> Slot:
    """Result of a run with at least one call, without its guard time.

    The first calls find the processor's caches full of the other side's work: on a reference
    model the first call took 2.5 times as long, the second 1.3 times, all others less than 1.15
    times. So two calls are left out, and all that begin in the first 3 ms, but at most a third of
    all.

    An answer within `slo` seconds counts towards goodput, every one if it is None; `latencies` says
    whether latencies have a meaning in the scenario.
    """
    calls = len(samples.stop)
    order = np.argsort(samples.dispatched_ns, kind="stable")
    kept = np.zeros(calls, np.bool_)
    early = int((samples.dispatched_ns < samples.started_ns + _GUARD_NS).sum())
    kept[order[min(max(GUARD_CALLS, early), calls // 3) :]] = True
    ok = samples.ok
    counted = np.repeat(kept, samples.size)
    latency_ns = samples.latency_ns
    took = latency_ns * 1e-9
    good = counted & ok
    begun, ended = int(samples.dispatched_ns[kept].min()), int(samples.done_ns[kept].max())
    queries = len(ok) // samples.per_query * samples.per_query
    query_ns, well = whole_queries(latency_ns[:queries], good[:queries], samples.per_query)
    answered = query_ns[well] * 1e-9 if latencies else np.zeros(0)
    # Requests still waiting at the end have waited as long as the slot: without them, a side that
    # is too slow would show the tail of a fast one.
    lasted = float(int(samples.done_ns.max()) - samples.started_ns) * 1e-9
    waiting = np.full(samples.unfinished if latencies else 0, lasted)
    return Slot(
        good=int(good.sum()),
        within=int((took[good] <= slo).sum()) if slo is not None else int(good.sum()),
        bad=int((~ok).sum()) + samples.rejected,
        seconds=max(1, ended - begun) * 1e-9,
        latencies=np.concatenate([answered, waiting]),
    )
