"""Verdicts: what the evidence says about one budget, and what that does to the test."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pytest_dlperf.statistics.estimate import Estimate


class Verdict(enum.StrEnum):
    """What the evidence says about one budget."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    NEW = "NEW"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One budget, judged.

    Attributes:
        budget: the condition as the user wrote it.
        metric: what it is about.
        verdict: what the evidence says.
        measured: what was measured, if it was.
        limit: the limit in the metric's base unit, if it is known.
        baseline: the baseline's value, if the budget is relative and there is one.
        fails_at: the measured value at which this budget would have been a FAIL with the noise
            of this run; the smallest change that could have been seen.
        reason: why the verdict is neither PASS nor FAIL, or what to know about it.
        lasting: whether measuring again the same way must end the same way.
        revision: the baseline's commit and date, for people; empty if there is none.
        improved: whether it is better than the baseline beyond the noise.
        change: the metric of the candidate over that of the base, as a ratio with its interval;
            of a duel.
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

    @property
    def incomparable(self) -> bool:
        """Whether there is a baseline, but one that was measured under other conditions."""
        open_verdict = self.verdict is Verdict.INCONCLUSIVE
        return open_verdict and self.baseline is not None and self.lasting


def consequence(judgement: Judgement, *, missing: Leniency, inconclusive: Leniency) -> Leniency:
    """What a judgement does to its test.

    An INVALID that noise caused is treated as INCONCLUSIVE is: it says nothing about the code.
    One that the test's own settings cause (too few requests) fails, since it would otherwise
    stay green for ever without ever being judged.
    """
    match judgement.verdict:
        case Verdict.PASS:
            return "pass"
        case Verdict.FAIL:
            return "fail"
        case Verdict.NEW:
            return missing
        case Verdict.INCONCLUSIVE:
            return inconclusive
        case Verdict.INVALID:
            return "fail" if judgement.lasting else inconclusive


Leniency: TypeAlias = Literal["pass", "warn", "fail"]
