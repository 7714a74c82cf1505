"""Review: one measurement that could become the baseline, for people to decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dlperf.baselines.changes import change_lines
from pytest_dlperf.history.compare import USUAL, is_usual
from pytest_dlperf.history.sources import title_of
from pytest_dlperf.metrics import in_order, metric_named
from pytest_dlperf.report.budget_table import wrapped
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.baselines.review_core import Proposal
    from pytest_dlperf.results.baseline import Accepted


def proposal_lines(proposal: Proposal, number: int, count: int) -> Iterator[str]:
    """Old, new, the change, the verdict and the commits.

    Args:
        proposal: what is shown.
        number: of it, from 1.
        count: of all that are shown.
    """
    entry, old = proposal.entry, proposal.old
    yield f"{number} of {count}: {title_of(entry.test, entry.name)}"
    yield f"  measured: {entry.found.revision}, {entry.verdict.value}"
    if old is not None:
        several = f", {len(old.sessions)} sessions" if len(old.sessions) > 1 else ""
        yield f"  baseline: {old.revision}{several}"
    for reason in proposal.reasons:
        yield from (f"  {line}" for line in wrapped(reason))
    lines = figure_lines(entry.found) if old is None else change_lines(old, entry.found, USUAL)
    for told in lines:
        yield from (f"    {line}" for line in wrapped(told))


def figure_lines(accepted: Accepted) -> list[str]:
    """What the newest session measured, of what people look at first."""
    return [
        f"{name} {format_quantity(accepted.metrics[name].value, metric_named(name).unit)}"
        for name in in_order(accepted.metrics)
        if is_usual(name)
    ]
