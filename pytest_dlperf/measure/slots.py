"""Slots and blocks: the intervals of measuring that a duel is made of."""

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
"""First calls of a slot that do not count."""


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """What one side did in one interval of measuring, its guard time left out.

    Attributes:
        good: requests that were answered well.
        within: those of them that were answered within the `slo`.
        bad: requests that ended otherwise, or found the queue full.
        seconds: from the end of the guard time to the last answer; positive.
        latencies: seconds from due to answered of those that were answered well, and as much as
            the slot lasted for those that still waited when its time was up, shape `(n,)`; empty
            where the scenario gives latencies no meaning.
    """

    good: int
    within: int
    bad: int
    seconds: float
    latencies: NDArray[np.float64]

    def to_message(self) -> tuple[dict[str, float], bytes]:
        """Plain numbers, and the latencies as bytes."""
        numbers = {
            "good": self.good,
            "within": self.within,
            "bad": self.bad,
            "seconds": self.seconds,
        }
        return numbers, self.latencies.tobytes()

    @classmethod
    def from_message(cls, numbers: Mapping[str, Any], latencies: bytes) -> Slot:
        """The inverse of `to_message`.

        Raises:
            KeyError, ValueError: if the values are not of this shape.
        """
        return cls(
            good=numbers["good"],
            within=numbers["within"],
            bad=numbers["bad"],
            seconds=numbers["seconds"],
            latencies=np.frombuffer(latencies, np.float64),
        )

    def joined(self, later: Slot) -> Slot:
        """Both intervals as one."""
        return Slot(
            good=self.good + later.good,
            within=self.within + later.within,
            bad=self.bad + later.bad,
            seconds=self.seconds + later.seconds,
            latencies=np.concatenate([self.latencies, later.latencies]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Four slots in the order ABBA or BAAB, which a fair coin chose; two of each side.

    Attributes:
        base: the two slots of the base, joined.
        candidate: the two slots of the candidate, joined.
        pair: number of the pair of processes that was measured.
        seconds: of the wall clock, hand-overs and guard times included.
    """

    base: Slot
    candidate: Slot
    pair: int
    seconds: float


def slot_of(samples: Samples, slo: float | None, *, latencies: bool) -> Slot:
    """What a short run comes to, its guard time left out.

    The first calls find the processor's caches full of the other side's work: on a reference
    model the first one took 2.5 times as long, the second 1.3 times, all further ones less than
    1.15 times. So two are left out, or fewer if they are more than a third of all.

    Args:
        samples: a whole run; at least one call.
        slo: seconds within which an answer counts as good; None if there is no such limit.
        latencies: whether the scenario gives latencies a meaning.
    """
    calls = len(samples.stop)
    order = np.argsort(samples.dispatched_ns, kind="stable")
    kept = np.zeros(calls, np.bool_)
    kept[order[min(GUARD_CALLS, calls // 3) :]] = True
    ok = samples.ok
    counted = np.repeat(kept, samples.size)
    latency_ns = samples.latency_ns
    took = latency_ns * 1e-9
    good = counted & ok
    begun, ended = int(samples.dispatched_ns[kept].min()), int(samples.done_ns[kept].max())
    queries = len(ok) // samples.per_query * samples.per_query
    query_ns, well = whole_queries(latency_ns[:queries], good[:queries], samples.per_query)
    answered = query_ns[well] * 1e-9 if latencies else np.zeros(0)
    # Who was still waiting at the end has waited until then: left out, a side that is too slow
    # would show the tail of a fast one.
    lasted = float(int(samples.done_ns.max()) - samples.started_ns) * 1e-9
    waiting = np.full(samples.unfinished if latencies else 0, lasted)
    return Slot(
        good=int(good.sum()),
        within=int((took[good] <= slo).sum()) if slo is not None else int(good.sum()),
        bad=int((~ok).sum()) + samples.rejected,
        seconds=max(1, ended - begun) * 1e-9,
        latencies=np.concatenate([answered, waiting]),
    )
