"""The command that finds the commit of a change of level."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.hints import judge_alone, judge_in_turn
from pytest_dlperf.units import change_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.history.timeline import LevelChange
    from pytest_dlperf.metrics import Metric

IN_TURN: Final = SLOTTED | {"accuracy"}
"""Metrics that a duel can judge; users' shares too."""
_UNITS: Final = {"s": "s", "1/s": "/s", "bytes": "B", "share": "", "1": ""}
_DIGITS: Final = 12  # of a commit, so that it is unique
_LEAST_DETECT: Final = 1e-4
_MOST_DETECT: Final = 0.5
_RUN: Final = """'pytest "$@"; s=$?; [ $s -gt 1 ] && s=125; exit $s'"""
"""git takes 0 for good, 125 for skip, and all else up to 127 for bad. pytest exits with 1 if a test
fails, and with more if it could not run, which says nothing about the commit."""
LEGEND: Final = (
    "A commit whose test cannot run is skipped; one that stays INCONCLUSIVE counts as good."
)


def can_bisect(change: LevelChange) -> bool:
    """Whether there are a good and a bad commit, and something to find between them."""
    return bool(change.worse and change.good and change.bad and change.good != change.bad)


def bisection(test: str, metric: str, change: LevelChange) -> Iterator[str]:
    r"""The command, in parts that stand on lines of their own (each but the last with a `\`).

    Args:
        test: pytest's node id.
        metric: the metric that became worse.
        change: of its level, with a good and a bad commit.
    """
    good, bad = change.good[:_DIGITS], change.bad[:_DIGITS]
    yield f"git bisect start {bad} {good} && git bisect run sh -c"
    yield f"{_RUN} sh"
    worse = metric_named(metric)
    if metric not in IN_TURN and not (worse.by_user and worse.unit == "share"):
        yield from judge_alone(test, budget_between(worse, change))
        return
    sign = "<=" if worse.better == "lower" else ">="
    loss, detect = max(_LEAST_DETECT, _loss(worse, change)), ""
    if loss < worse.detect:
        detect = f"{metric} {loss * 100:.2g}{change_unit(worse.unit)}"
    yield from judge_in_turn(test, good, f"{metric} {sign} baseline", detect)


def budget_between(metric: Metric, change: LevelChange) -> str:
    """A budget halfway between both levels: kept by the one before, broken by the one since."""
    before, after = change.before, change.after
    if metric.unit == "share" or min(before, after) <= 0:
        between = (before + after) / 2
    else:
        between = math.sqrt(before * after)
    sign = "<=" if metric.better == "lower" else ">="
    return f"{metric.name} {sign} {between:.6g}{_UNITS[metric.unit]}"


def _loss(metric: Metric, change: LevelChange) -> float:
    """The loss as a difference of shares, or of costs as a ratio minus one."""
    value = change.change.value
    if metric.unit == "share":
        return abs(value)
    return min(_MOST_DETECT, (1 / (1 + value) if metric.better == "higher" else 1 + value) - 1)
