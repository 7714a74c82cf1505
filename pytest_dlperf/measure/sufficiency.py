"""Sufficiency: how long a load must last for its budgets to be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.statistics.block_bootstrap import MIN_BLOCKS
from pytest_dlperf.statistics.percentiles import required_requests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.load.totals import Tally

_MARGIN: Final = 1.2
_UNTIMED: Final = frozenset({"errors", "peak_memory", "compile_time"})


def sufficient_seconds(tally: Tally, budgets: Iterable[Budget]) -> float:
    """How long the same load must last to measure what the budgets ask for.

    Depends on how many requests there were, never on how they fared against a limit, so that
    measuring longer favours no verdict.

    Args:
        tally: of a load that has ended.
        budgets: what is asked.

    Returns:
        Seconds with a margin of a fifth; 0 if it lasted long enough, or if no request was
        answered well, so that more would not help.
    """
    metrics = (budget.metric for budget in budgets)
    asked = [one for one in metrics if one.name not in _UNTIMED and not one.of_answers]
    queries = tally.queries
    if not asked or not queries:
        return 0.0
    # Twice the stretches that are needed, since calls do not fall evenly into them.
    factor = 2 * MIN_BLOCKS / tally.calls
    for metric in asked:
        if metric.percentile is not None:
            factor = max(factor, required_requests(metric.percentile) / queries)
    return _MARGIN * factor * tally.span_ns * 1e-9 if factor > 1 else 0.0
