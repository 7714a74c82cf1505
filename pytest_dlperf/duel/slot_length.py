"""The length of a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.blocks_of_pair import FEWEST_BLOCKS, PAIRS_IN_TIME

if TYPE_CHECKING:
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.results.measurement import Measurement

_SLOTS: Final = 4  # of a block
_SHORTEST: Final = 0.005
_SHORTEST_OPEN: Final = 0.05
_CALLS: Final = 8
_ARRIVALS: Final = 40
_LONGEST: Final = 5.0


def slot_seconds(plan: Plan, opening: Measurement) -> float:
    """The length of a slot: short, since a machine drifts, but worth a hand-over.

    Eight calls of the target, 5 ms at least; fewer calls, but one at least, where the time would be
    too short for three blocks of each of ten pairs. In an open loop, whose latencies are judged by
    their tails: forty arrivals, 50 ms at least.
    """
    if plan.open_loop:
        rate = opening.requests / max(opening.seconds, _SHORTEST)
        return min(max(_SHORTEST_OPEN, _ARRIVALS / rate), _LONGEST)
    calls = max(1, sum(opening.batch_sizes.values()))
    busy = sum(opening.utilisation) * opening.seconds
    call = busy / calls / max(1, plan.lanes)
    room = plan.budget_time / (_SLOTS * FEWEST_BLOCKS * PAIRS_IN_TIME)
    return min(max(_SHORTEST, min(_CALLS * call, max(call, room))), _LONGEST)
