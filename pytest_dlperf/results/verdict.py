"""Verdicts on budgets, and their consequences for the test."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pytest_dlperf.statistics.estimate import Estimate


Leniency: TypeAlias = Literal["pass", "warn", "fail"]


class Verdict(enum.StrEnum):
    """What the evidence says about one budget."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    NEW = "NEW"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one budget.

    Attributes:
        budget: the condition as the user wrote it.
        metric: name of its metric.
        verdict: what the evidence says.
        measured: the estimate, if there is one.
        limit: in the metric's base unit, if it is known.
        baseline: the baseline's value, if the budget is relative and there is one.
        fails_at: the measured value from which this budget would have been a FAIL with the noise
            of this run; the smallest change that could have been detected.
        reason: why the verdict is neither PASS nor FAIL, or what to know about it.
        lasting: whether measuring again in the same way must end with the same verdict.
        revision: the baseline's commit and date, as text; empty without one.
        improved: whether it is better than the baseline beyond the noise.
        change: of a relative budget, the ratio of candidate to base, of a share the difference. Its
            interval has the ends that decide: what is proven at the error rate of a FAIL, and what
            is excluded at that of a PASS. None where nothing was compared but by a point.
        excluded: of a PASS, the smallest loss that is excluded: a share of the metric's value, or a
            difference of shares; below 0 it is a gain.
        proven: of a FAIL, the largest loss that is proven, likewise.
        base_broken: whether the base of a duel has the test, and it could not be measured there.
    """

    budget: str
    metric: str
    verdict: Verdict
    measured: Estimate | None = None
    limit: float | None = None
    baseline: float | None = None
    fails_at: float | None = None
    reason: str = ""
    lasting: bool = False
    revision: str = ""
    improved: bool = False
    change: Estimate | None = None
    excluded: float | None = None
    proven: float | None = None
    base_broken: bool = False

    @property
    def incomparable(self) -> bool:
        """Whether the baseline was measured under other conditions."""
        open_verdict = self.verdict is Verdict.INCONCLUSIVE
        return open_verdict and self.baseline is not None and self.lasting


def consequence(
    judgement: Judgement, *, missing: Leniency, inconclusive: Leniency, base_broken: Leniency
) -> Leniency:
    """The consequence of a judgement for its test.

    An INVALID because of noise is treated like INCONCLUSIVE: it says nothing about the code.
    One because of the test's own settings (too few requests) fails, since otherwise the test
    would stay green without ever being judged. `base_broken` is the consequence of a base that
    could not be measured.
    """
    match judgement.verdict:
        case Verdict.PASS:
            return "pass"
        case Verdict.FAIL:
            return "fail"
        case Verdict.NEW:
            return missing
        case Verdict.INCONCLUSIVE:
            return base_broken if judgement.base_broken else inconclusive
        case Verdict.INVALID:
            return "fail" if judgement.lasting else inconclusive
