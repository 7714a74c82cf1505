"""The comparison of two sides, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from pytest_dlperf.metrics import in_order
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.history.entries import MeasurementId
    from pytest_dlperf.results.baseline_session import Revision
    from pytest_dlperf.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one measurement.

    Attributes:
        metric: name.
        base: geometric mean of the base's sessions in the metric's base unit; of a share, the
            newest session's; None if it has none.
        candidate: the same of the candidate.
        change: from base to candidate with its interval, above 0 if the value is larger: a ratio
            minus one, or of shares the difference. None if they cannot be compared.
        verdict: as of a budget that allows no loss.
        improved: whether a gain is proven.
        reason: why the verdict is neither PASS nor FAIL.
        fails_at: the change that would be a FAIL, if the verdict is open because of noise.
        alpha: error rate of its FAIL; None if it cannot err.
        provable: the change from which on it would be a FAIL if no other metric were one; None if
            that is not known.
    """

    metric: str
    base: float | None
    candidate: float | None
    change: Estimate | None
    verdict: Verdict
    improved: bool = False
    reason: str = ""
    fails_at: float | None = None
    alpha: float | None = None
    provable: float | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """One measurement of both sides, on one machine class.

    Attributes:
        key: which measurement.
        base: revision of the base's newest session; None if it has none.
        candidate: revision of the candidate's newest session.
        base_sessions: number of the base's sessions.
        sessions: number of the candidate's sessions.
        rows: one for each metric.
        note: by how much the machine's speed changed, if that was allowed for.
        scenario: the candidate's traffic, as text.
    """

    key: MeasurementId
    base: Revision | None
    candidate: Revision
    base_sessions: int
    sessions: int
    rows: tuple[Row, ...]
    note: str = ""
    scenario: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All measurements of two sides.

    Attributes:
        measurements: the candidate's, sorted by test, name and machine class.
        gone: titles of measurements and metrics that only the base has.
        warnings: changes of software between them.
        alpha: error rate of a FAIL, of all metrics together.
    """

    measurements: tuple[Compared, ...]
    gone: tuple[str, ...]
    warnings: tuple[str, ...]
    alpha: float

    @property
    def provable(self) -> Mapping[str, float]:
        """By metric, the change from which on half of its rows would be a FAIL, alone in it."""
        changes: dict[str, list[float]] = {}
        for measurement in self.measurements:
            for row in measurement.rows:
                if row.provable is not None:
                    changes.setdefault(row.metric, []).append(row.provable)
        return {name: median(changes[name]) for name in in_order(changes)}

    @property
    def failed(self) -> bool:
        """Whether any loss is proven."""
        return any(
            row.verdict is Verdict.FAIL
            for measurement in self.measurements
            for row in measurement.rows
        )
