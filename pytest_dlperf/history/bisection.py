"""Bisection: the command with which git finds the commit that made a metric worse."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.sequential_test import SLOTTED
from pytest_dlperf.metrics import metric_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.history.timeline import Change
    from pytest_dlperf.metrics import Metric

IN_TURN: Final = SLOTTED | {"accuracy"}
"""Metrics that two commits measured in turn can tell apart; and users' shares."""

_UNITS: Final = {"s": "s", "1/s": "/s", "bytes": "B", "share": "", "1": ""}
_DIGITS: Final = 12  # of a commit, so that it means no other one
_LEAST_DETECT: Final = 1e-4
_MOST_DETECT: Final = 0.5
_RUN: Final = """'pytest "$@"; s=$?; [ $s -gt 1 ] && s=125; exit $s'"""
"""For git 0 is good, 125 is to be skipped, and anything else up to 127 is bad. pytest ends with 1
where a test fails, and with more where it did not run: then nothing is known of the commit."""

LEGEND: Final = (
    "A commit whose test cannot run is skipped; one that stays INCONCLUSIVE counts as good."
)


def bisection(test: str, metric: str, change: Change) -> Iterator[str]:
    r"""The command, in parts that stand on lines of their own (each but the last with a `\`).

    Args:
        test: pytest's node id.
        metric: that became worse.
        change: with a good and a bad commit.
    """
    good, bad = change.good[:_DIGITS], change.bad[:_DIGITS]
    yield f"git bisect start {bad} {good} && git bisect run sh -c"
    yield f"{_RUN} sh"
    of = metric_named(metric)
    if metric not in IN_TURN and not (of.by_user and of.unit == "share"):
        yield shlex.quote(test)
        yield shlex.quote(f"--dlperf-budgets={budget_between(of, change)}")
        return
    yield f"{shlex.quote(test)} --dlperf-against={good}"
    sign = "<=" if of.better == "lower" else ">="
    yield shlex.quote(f"--dlperf-budgets={metric} {sign} baseline")
    loss = _loss(of, change)
    if loss < of.detect:
        unit = "pt" if of.unit == "share" else "%"
        yield shlex.quote(f"--dlperf-detect={metric} {max(_LEAST_DETECT, loss) * 100:.2g}{unit}")


def budget_between(metric: Metric, change: Change) -> str:
    """A budget that the level before holds and the level since breaks, halfway between both."""
    before, after = change.before, change.after
    if metric.unit == "share" or min(before, after) <= 0:
        between = (before + after) / 2
    else:
        between = math.sqrt(before * after)
    sign = "<=" if metric.better == "lower" else ">="
    return f"{metric.name} {sign} {between:.6g}{_UNITS[metric.unit]}"


def _loss(metric: Metric, change: Change) -> float:
    """What was lost: a share, or how much more a request costs, as a ratio minus one."""
    value = change.change.value
    if metric.unit == "share":
        return abs(value)
    return min(_MOST_DETECT, (1 / (1 + value) if metric.better == "higher" else 1 + value) - 1)
