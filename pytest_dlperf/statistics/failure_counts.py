"""Shares of failed calls: what a count says of the share, and which of two counts is higher."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FailedCalls:
    """How many of independent calls failed.

    Attributes:
        failed: a part of a call is where only some requests of it failed.
        calls: above 0.
    """

    failed: float
    calls: int

    @property
    def share(self) -> float:
        """The share that failed."""
        return self.failed / self.calls

    def low(self, error: float) -> float:
        """Clopper and Pearson's lower end (1934): above the true share with `error` at the most."""
        from scipy.special import betaincinv

        failed = math.floor(self.failed)
        return float(betaincinv(failed, self.calls - failed + 1, error)) if failed else 0.0

    def high(self, error: float) -> float:
        """Clopper and Pearson's upper end: below the true share with `error` at the most."""
        from scipy.special import betaincinv

        failed = math.ceil(self.failed)
        if failed >= self.calls:
            return 1.0
        return float(betaincinv(failed + 1, self.calls - failed, 1 - error))


def more_failures(now: FailedCalls, then: FailedCalls) -> float:
    """The exact one-sided p-value that a call fails no more often now than then.

    Given all failures, those of now are binomial with its share of all calls (Przyborowski and
    Wilenski 1940): exact for counts of rare events, and on the safe side for others.

    >>> round(more_failures(FailedCalls(1, 1000), FailedCalls(0, 1000)), 6)
    0.5
    """
    from scipy.special import bdtrc

    failed, before = math.floor(now.failed), math.ceil(then.failed)
    if not failed:
        return 1.0
    return float(bdtrc(failed - 1, failed + before, now.calls / (now.calls + then.calls)))
