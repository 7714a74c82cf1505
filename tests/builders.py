"""Values that many tests need, with defaults for whatever a test does not care about."""

from __future__ import annotations

import dataclasses
import datetime as dt
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.load.accumulator import EXACT, Accumulator
from pytest_dlperf.load.samples import Samples
from pytest_dlperf.results.baseline import BaselineEntry
from pytest_dlperf.results.baseline_session import BaselineSession, Revision
from pytest_dlperf.results.environment import Environment, MachineClass
from pytest_dlperf.results.measurement import Measurement
from pytest_dlperf.results.record import Record
from pytest_dlperf.results.row_evidence import Rows
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_dlperf.load.totals import LoadTotals

ENVIRONMENT = Environment(
    python="3.11", tensorflow="2.18.0", keras="3.8.0", numpy="2.1.0", threads="", precision="f32"
)
MACHINE = MachineClass(cpu="Test CPU @ 2.4GHz", cores=4, memory=16, accelerators="", driver="")
REVISION = Revision("0123456789abcdef", "main", "2026-11-23")


def revision_on(day: int) -> Revision:
    """The commit on another day, so that sessions do not count as one."""
    date = dt.date(2026, 1, 1) + dt.timedelta(days=day)
    return dataclasses.replace(REVISION, date=date.isoformat())


def estimate(value: float, reach: float = 0.0) -> Estimate:
    """A value with an interval that reaches as far to both sides, relative to the value."""
    return Estimate(value, value * (1 - reach), value * (1 + reach))


def make_measurement(metrics: Mapping[str, Estimate] | None = None, **fields: Any) -> Measurement:  # noqa: ANN401 - any field
    """A measurement."""
    given = {
        "test": "tests/test_model.py::test_fast",
        "name": "",
        "target": "a target",
        "scenario": "ClosedLoop(clients=64)",
        "serving": "Serving()",
        "seconds": 5.0,
        "requests": 10_000,
        "metrics": MappingProxyType(
            {"throughput": estimate(1000.0), "errors": counted(0.0)} if metrics is None else metrics
        ),
        "refused": MappingProxyType({}),
        "errors": (),
        "rows": None,
        "invalid": "",
        "notes": (),
        "diagnosis": "median 1 ms in the queue",
    }
    return Measurement(**{**given, **fields})


def pace(seconds: float | Pace | None) -> Pace | None:
    """A yardstick both of whose parts took as long."""
    return Pace(seconds, seconds) if isinstance(seconds, float) else seconds


def numbered(sessions: Iterable[BaselineSession]) -> list[float]:
    """The seconds that sessions were numbered with as `yardstick`."""
    return [session.yardstick.compute for session in sessions if session.yardstick is not None]


def make_accepted(metrics: Mapping[str, Estimate] | None = None, **fields: Any) -> BaselineEntry:  # noqa: ANN401 - any field
    """A baseline entry; what is of a session is of its newest one, after those in `earlier`."""
    session = BaselineSession(
        MappingProxyType(
            {"throughput": estimate(1000.0), "errors": counted(0.0)} if metrics is None else metrics
        ),
        fields.pop("environment", ENVIRONMENT),
        fields.pop("revision", REVISION),
        pace(fields.pop("yardstick", None)),
        fields.pop("blocks", None),
        fields.pop("answers", MappingProxyType({})),
        fields.pop("counts", None),
    )
    sessions = (*fields.pop("earlier", ()), session)
    given = {"scenario": "ClosedLoop(clients=64)", "serving": "Serving()", "sessions": sessions}
    return BaselineEntry(**{**given, **fields})


def continued(earlier: Iterable[BaselineSession], entry: BaselineEntry) -> BaselineEntry:
    """An entry whose newest session follows others."""
    return dataclasses.replace(entry, sessions=(*earlier, entry.newest))


def with_session(entry: BaselineEntry, **fields: Any) -> BaselineEntry:  # noqa: ANN401 - any field
    """An entry with some fields of its newest session replaced."""
    newest = dataclasses.replace(entry.newest, **fields)
    return dataclasses.replace(entry, sessions=(*entry.sessions[:-1], newest))


def make_judgement(verdict: Verdict = Verdict.PASS, **fields: Any) -> Judgement:  # noqa: ANN401 - any field
    """A judgement on throughput."""
    given = {"budget": "throughput >= 900/s", "metric": "throughput", "verdict": verdict}
    return Judgement(**{**given, **fields})


def make_record(
    *judgements: Judgement,
    measurement: Measurement | None = None,
    hints: tuple[str, ...] = (),
    quick: bool = False,
) -> Record:
    """A record."""
    return Record(measurement or make_measurement(), judgements, hints, quick)


def make_rows(right: Sequence[int], answered: Sequence[int] | None = None, data: str = "d") -> Rows:
    """Rows from ones and zeros; all are answered by default."""
    bits = np.array(right, dtype=bool)
    return Rows(data, np.ones_like(bits) if answered is None else np.array(answered, bool), bits)


def make_samples(  # noqa: PLR0913 - columns
    sizes: Sequence[int],
    done_ns: Sequence[int],
    *,
    dispatched_ns: Sequence[int] | None = None,
    intended_ns: Sequence[int] | None = None,
    replica: Sequence[int] | None = None,
    outcome: Iterable[int] | None = None,
    late_ns: Sequence[int] = (),
    started_ns: int = 0,
    unfinished: int = 0,
    rejected: int = 0,
    per_query: int = 1,
) -> Samples:
    """Samples from batch sizes and completion times; everything was due at the start."""
    requests = sum(sizes)
    return Samples(
        started_ns=started_ns,
        intended_ns=np.array(
            [started_ns] * requests if intended_ns is None else intended_ns, np.int64
        ),
        stop=np.cumsum(np.array(sizes, np.int64)),
        dispatched_ns=np.array(
            [started_ns] * len(sizes) if dispatched_ns is None else dispatched_ns, np.int64
        ),
        done_ns=np.array(done_ns, np.int64),
        replica=np.array([0] * len(sizes) if replica is None else replica, np.int64),
        outcome=np.array([0] * requests if outcome is None else list(outcome), np.uint8),
        late_ns=np.array(late_ns, np.int64),
        unfinished=unfinished,
        rejected=rejected,
        per_query=per_query,
    )


def totals_of(
    *segments: Samples,
    seconds: float | None = None,
    replicas: int = 1,
    slo: float | None = None,
    exact: int = EXACT,
    open_loop: bool = False,
) -> LoadTotals:
    """Totals of the segments of a run; its planned length is its real one, unless given."""
    started_ns = segments[0].started_ns
    if seconds is None:
        ended_ns = max(int(segment.done_ns.max(initial=started_ns)) for segment in segments)
        seconds = (ended_ns - started_ns) * 1e-9
    accumulator = Accumulator(
        started_ns=started_ns,
        seconds=seconds,
        replicas=replicas,
        open_loop=open_loop,
        slo=slo,
        exact=exact,
    )
    for segment in segments:
        accumulator.add(segment)
    return accumulator.totals()
