"""What baseline files say of the noise between sessions, where no history does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dlperf.judge.machine_noise import PastMeasurement, PastSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_dlperf.results.baseline import Baseline


def past_of(baselines: Iterable[Baseline]) -> Iterator[PastMeasurement]:
    """The sessions of baselines; all of an entry are of one accepted level."""
    for baseline in baselines:
        for name, entry in baseline.accepted.items():
            sessions = (
                PastSession(session.revision.date, session.metrics, session.yardstick)
                for session in entry.sessions
            )
            yield PastMeasurement(baseline.test, name, entry.scenario, tuple(sessions))


def joined(
    recorded: Iterable[PastMeasurement], accepted: Iterable[PastMeasurement]
) -> tuple[PastMeasurement, ...]:
    """What was recorded, and of other measurements what was accepted.

    The history has the accepted sessions too, and those that were left out.
    """
    known = tuple(recorded)
    keys = {past.key for past in known}
    return (*known, *(past for past in accepted if past.key not in keys))
