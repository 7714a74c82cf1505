"""Tuning marker: what is recommended as a marker that holds a test to what was reached."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import LOAD_METRICS, Metric, measured_by
from pytest_dlperf.tuning.code import PACKAGE, call_code

if TYPE_CHECKING:
    from pytest_dlperf.tuning.result import Tuned

_NAME: Final = re.compile(r"[A-Z]\w*")
_LEAST: Final = 0.1
_GIB: Final = 2.0**30
_MIB: Final = 2.0**20
_HUNDRED: Final = 100.0


def marker_code(tuned: Tuned) -> str:
    """The dlperf marker of a test that holds what is recommended to what it reached.

    Its budgets are those of the goal; in place of the objective stands what was measured, less a
    tenth, or less what a budget on this metric finds by default if that is more. What a load does
    not measure is left out.
    """
    wanted = [_reached(tuned), *(budget.text for budget in tuned.goal.constraints)]
    metrics = [tuned.goal.objective, *(budget.metric for budget in tuned.goal.constraints)]
    arguments = [
        f'"{text}"'
        for text, metric in zip(wanted, metrics, strict=True)
        if text and measured_by(LOAD_METRICS, metric)
    ]
    comments = []
    if tuned.scenario.startswith("Trace("):
        comments.append("# scenario= is the trace of the test that was tuned")
    else:
        arguments.append(f"scenario={tuned.scenario}")
    if any(metric.name == "goodput" for metric in metrics):
        comments.append("# slo= is that of the test that was tuned")
    serving = call_code(tuned.setup.serving)
    if serving != "Serving()":
        arguments.append(f"serving={serving}")
    names = sorted({name for one in arguments if "=" in one for name in _NAME.findall(_code(one))})
    imports = ["import pytest", "", *([f"from {PACKAGE} import {', '.join(names)}"] * bool(names))]
    body = [f"    {line}" for line in (*comments, *(f"{one}," for one in arguments))]
    return "\n".join((*imports, "", "@pytest.mark.dlperf(", *body, ")"))


def _code(argument: str) -> str:
    """An argument that is code, not text."""
    return "" if argument.startswith('"') else argument


def _reached(tuned: Tuned) -> str:
    """A budget on the objective that what is recommended held; empty if it was not measured."""
    metric = tuned.goal.objective
    winner = tuned.winner
    known = tuned.trial_of(tuned.recommended).metrics
    found = (winner.metrics if winner else {}).get(metric.name) or known.get(metric.name)
    if found is None:
        return ""
    sign = 1 if metric.better == "lower" else -1
    if metric.unit == "share":
        limit = min(1.0, max(0.0, found.value + sign * metric.detect))
    else:
        limit = found.value * (1 + max(_LEAST, metric.detect)) ** sign
    return f"{metric.name} {'<=' if sign > 0 else '>='} {_quantity(limit, metric)}"


def _quantity(value: float, metric: Metric) -> str:
    """As a budget writes it, with three digits."""
    match metric.unit:
        case "s":
            return f"{_short(value)}s" if value >= 1 else f"{_short(value * 1e3)}ms"
        case "1/s":
            return f"{_short(value)}/s"
        case "share":
            return f"{_short(value * 100)}%"
        case "bytes":
            large = value >= _GIB
            return f"{_short(value / (_GIB if large else _MIB))}{'GiB' if large else 'MiB'}"
        case "1":
            return _short(value)


def _short(value: float) -> str:
    rounded = float(f"{value:.3g}")
    return f"{rounded:.0f}" if rounded >= _HUNDRED else f"{rounded:g}"
