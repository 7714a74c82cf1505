"""Relative budgets on errors, from counts of failed calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.statistics.failure_counts import FailedCalls, more_failures

if TYPE_CHECKING:
    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.results.measurement import CallCounts
    from pytest_dlperf.statistics.estimate import Decision


@dataclass(frozen=True, slots=True)
class ErrorComparison:
    """Errors of two sides.

    The requests of one call mostly fail together, as with a time-out, so calls are counted: a
    share `e` of `n` requests in `c` calls is `e c` failed calls of `c`.
    """

    now: FailedCalls
    then: FailedCalls

    @classmethod
    def of(
        cls, now: float, then: float, counts: CallCounts | None, before: CallCounts | None
    ) -> ErrorComparison:
        """Of two shares of requests.

        A baseline without counts has as many calls as this measurement, and the reverse.
        """
        known = counts or before
        calls = known.calls if known else 1
        return cls(
            FailedCalls(
                now * (counts.calls if counts else calls), counts.calls if counts else calls
            ),
            FailedCalls(
                then * (before.calls if before else calls), before.calls if before else calls
            ),
        )

    def decision(self, budget: Budget, alpha: float, beta: float) -> Decision | None:
        """What is proven of a budget `errors <= ...`.

        FAIL where more errors than it allows are proven at `alpha`: by the exact test of two
        counts, or by the ends of their exact intervals. PASS where a rise of what it allows, or of
        the metric's `detect` if that is more, is excluded at `beta`.
        """
        if self._exceeds(budget, alpha):
            return "FAIL"
        least = self.then.low(beta / 2)
        line = budget.limit(least)
        if budget.limit(self.then.share) >= self.then.share:  # else a gain is demanded
            line = max(line, least + budget.metric.detect)
        return "PASS" if self.now.high(beta / 2) < line else None

    def _exceeds(self, budget: Budget, alpha: float) -> bool:
        if self.now.low(alpha / 2) > budget.limit(self.then.high(alpha / 2)):
            return True
        nothing_allowed = budget.limit(self.then.share) <= self.then.share
        return nothing_allowed and more_failures(self.now, self.then) < alpha

    def equality(self, budget: Budget, alpha: float, beta: float) -> Decision | None:
        """What is proven of `errors == ...`.

        FAIL where a difference is proven, half of `alpha` a side; PASS where differences of
        `detect` are excluded.
        """
        now, then, half = self.now, self.then, alpha / 2
        more = now.low(half / 2) > budget.limit(then.high(half / 2))
        fewer = now.high(half / 2) < budget.limit(then.low(half / 2))
        if budget.limit(then.share) == then.share:
            more = more or more_failures(now, then) < half
            fewer = fewer or more_failures(then, now) < half
        if more or fewer:
            return "FAIL"
        low, high = now.low(beta / 2), now.high(beta / 2)
        detect = budget.metric.detect
        same = high < budget.limit(then.low(beta / 2)) + detect
        return "PASS" if same and low > budget.limit(then.high(beta / 2)) - detect else None

    def excluded(self, beta: float) -> float:
        """The smallest rise of the share that is excluded."""
        return self.now.high(beta / 2) - self.then.low(beta / 2)
