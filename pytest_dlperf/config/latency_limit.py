"""A limit on a percentile of the latency: what a search for the highest rate holds to."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.errors import UsageError

_EXAMPLE = "such as slo='p99 <= 10ms'"


@dataclass(frozen=True, slots=True)
class LatencyLimit:
    """So many percent of the requests are answered within so many seconds.

    Attributes:
        percent: between 0 and 100.
        seconds: from due to answered.
    """

    percent: float
    seconds: float

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        if not (0 < self.percent < 100 and self.seconds > 0):  # noqa: PLR2004 - percent
            raise UsageError(f"slo: {self} can never be held", _EXAMPLE)

    def __str__(self) -> str:
        # In one unit and with all digits, since it tells one limit from another.
        return f"p{self.percent:g} <= {self.seconds * 1e3:.12g}ms"

    @property
    def share(self) -> float:
        """The share of the requests that must be answered in time."""
        return self.percent / 100


def parse_limit(text: object) -> LatencyLimit:
    """Read a limit that is written as a budget on a percentile.

    Raises:
        UsageError: if it is no budget, none on a percentile, or one against a baseline.

    >>> str(parse_limit("p99 <= 0.01s"))
    'p99 <= 10ms'
    """
    __tracebackhide__ = True
    if not isinstance(text, str):
        raise UsageError(f"slo={text!r:.80}: expected a text", _EXAMPLE)
    try:
        budget = parse_budget(text)
    except UsageError as error:
        raise UsageError(f"slo={text!r}: {error.problem}", _EXAMPLE) from None
    if budget.metric.percentile is None:
        raise UsageError(f"slo={text!r}: {budget.metric.name} is no percentile", _EXAMPLE)
    if budget.relative:
        raise UsageError(f"slo={text!r}: expected a latency, not a baseline", _EXAMPLE)
    return LatencyLimit(budget.metric.percentile, budget.offset)
