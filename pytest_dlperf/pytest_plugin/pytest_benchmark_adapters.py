"""pytest-benchmark: measurements as entries of its session, made as its own are.

Only `Metadata` is used, which holds the durations of one test, and the session's list of them
(pytest-benchmark 5.3.1, `stats.py` and `session.py`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Protocol

from pytest_dlperf.plain_values import plain_values, short_values
from pytest_dlperf.report.exports import BenchmarkEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TIMER: Final = "pytest_dlperf"
"""What is given as the timer, by which people can tell our entries from others."""

_SECONDS: Final = (1.0, 3.0)
_TRIAL: Final = BenchmarkEntry("trial", "trial", None, None, None, _SECONDS, {"a": 1.0})


class BenchmarkSession(Protocol):
    """What is used of pytest-benchmark's session.

    Attributes:
        benchmarks: the entries so far.
        quiet: whether it shows no table.
    """

    benchmarks: list[object]
    quiet: bool


class Metadata(Protocol):
    """What pytest-benchmark knows of one test."""

    def update(self, duration: float) -> None:
        """Add what one round took, in seconds."""

    def as_dict(self, *, include_data: bool) -> Mapping[str, object]:
        """As its files have it."""


def obstacle(session: object) -> str:
    """Why this pytest-benchmark cannot be told anything; empty if it can.

    Args:
        session: its session.
    """
    if not isinstance(getattr(session, "benchmarks", None), list):
        return "its session has no list of benchmarks"
    try:
        told = make_entry(_TRIAL).as_dict(include_data=True)
        match told:
            case {
                "fullname": "trial",
                "extra_info": {"a": 1.0},
                "stats": {"mean": 2.0, "ops": 0.5, "rounds": 2, "data": [1.0, 3.0]},
            }:
                return ""
    except (ImportError, AttributeError, LookupError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return f"an entry became {told!r:.200}"


def make_entry(entry: BenchmarkEntry) -> Metadata:
    """An entry for `BenchmarkSession.benchmarks`.

    Raises:
        ImportError, AttributeError, TypeError: if this pytest-benchmark makes them otherwise; ask
            `obstacle` before.
    """
    from pytest_benchmark import stats

    metadata: Callable[..., Metadata] = stats.Metadata
    fixture = SimpleNamespace(
        name=entry.name,
        fullname=entry.fullname,
        group=entry.group,
        param=entry.param,
        params=entry.params,
        extra_info=dict(entry.extra_info),
        cprofile_stats=None,
        has_error=False,
    )
    made = metadata(fixture, iterations=entry.iterations, options={"timer": _TIMER})
    for seconds in entry.seconds:
        made.update(seconds * entry.iterations)
    return made


def entry_in(fixture: object) -> BenchmarkEntry | None:
    """What a test measured with pytest-benchmark's own fixture; None if nothing, or if it failed.

    Args:
        fixture: it, or whatever stands in its place.
    """
    stats: Any = getattr(fixture, "stats", None)
    if getattr(stats, "has_error", True):
        return None
    try:
        return BenchmarkEntry(
            name=stats.name,
            fullname=stats.fullname,
            group=stats.group,
            param=stats.param,
            params=None if stats.params is None else short_values(stats.params),
            seconds=list(stats.stats.data),
            extra_info=plain_values(stats.extra_info),
            iterations=stats.iterations,
        )
    except AttributeError:
        return None
