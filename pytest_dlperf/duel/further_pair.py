"""A further pair of processes: how long it is waited for, and what it is to the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.opening import Opening
from pytest_dlperf.duel.scheduler import Pair
from pytest_dlperf.errors import DuelError
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from pytest_dlperf.duel.worker_handle import WorkerHandle
    from pytest_dlperf.duel.worker_process import WorkerSilent
    from pytest_dlperf.results.measurement import Measurement

_SHORTEST: Final = 60.0
_TIMES: Final = 4.0


def patience(taken: float) -> float:
    """Seconds to wait for a further pair: four times what one before has taken.

    A minute at least: nobody could tell a side that hangs from one that a busy machine slows down.

    >>> [patience(taken) for taken in (1.0, 60.0)]
    [60.0, 240.0]

    Args:
        taken: seconds that the slowest further pair of the measurement was waited for; if none has
            come, those of the first, in all of its tests so far: each sets up anew what the first
            has set up once.
    """
    return max(_SHORTEST, _TIMES * taken)


def late_pair(silent: WorkerSilent, taken: float) -> DuelError:
    """The error of a pair that hangs on one side, where one before took `taken` seconds."""
    return DuelError(
        f"a further pair of processes does not come to the measurement, though one before came in "
        f"{format_quantity(taken, 's')}: {silent}"
    )


def slot_pair(base: WorkerHandle | None, candidate: WorkerHandle) -> Pair:
    """Two workers that have reached a measurement.

    Raises:
        DuelError: if there is no base.
    """
    if base is None:
        raise DuelError("a further base side has not collected the test again")

    def measured() -> tuple[Measurement, Measurement]:
        before, after = base.open(whole=False), candidate.open(whole=False)
        if before is None or after is None:
            raise DuelError("a further side could not be measured")
        return Opening.from_json(before).measurement, Opening.from_json(after).measurement

    return Pair(base, candidate, measured)
