"""`detect`: losses that relative budgets must detect, where they differ from the metric's own."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import UsageError
from pytest_dlperf.metrics import find_metric, metric_named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.config.budgets import Budget

_ENTRY: Final = re.compile(r"\s*([\w.]+(?:\([^()]*\))?)\s+([0-9]*\.?[0-9]+)\s*(%|pt)\s*")
_EXAMPLE: Final = "such as 'throughput 3%, accuracy 0.5pt'"


@dataclass(frozen=True, slots=True)
class Detect:
    """The loss of one metric that must be detected.

    Attributes:
        metric: its name.
        loss: a ratio minus one for speeds (0.03 is 3 %), an absolute difference for shares
            (0.005 is half a point).
        unread: the text, if the metric was not known yet: options are read before the tests that
            define metrics are imported.
        spelt: the option's spelling, for messages about that.
    """

    metric: str
    loss: float
    unread: str = ""
    spelt: str = ""


def parse_detect(value: object, spelt: str) -> tuple[Detect, ...]:
    """Read losses by metric from a text such as `throughput 3%, accuracy 0.5pt`.

    Raises:
        UsageError: for any other text, or a wrong unit: shares need points, all else percent. Units
            of metrics that are not known yet are checked by `resolve_detect`.
    """
    if not isinstance(value, str):
        raise UsageError(f"{spelt}={value!r:.80} is no text", _EXAMPLE)
    return tuple(_parse(entry, spelt) for entry in value.split(","))


def resolve_detect(detect: Iterable[Detect]) -> tuple[Detect, ...]:
    """Read what had to wait until all metrics are defined.

    Raises:
        UsageError: for an unknown metric or a wrong unit.
    """
    __tracebackhide__ = True
    return tuple(_resolve(entry) if entry.unread else entry for entry in detect)


def _resolve(entry: Detect) -> Detect:
    __tracebackhide__ = True
    try:
        metric_named(entry.metric)
    except UsageError as error:
        raise UsageError(f"{entry.spelt}: {error.problem}", error.hint) from None
    return _parse(entry.unread, entry.spelt)


def with_detect(budget: Budget, detect: Iterable[Detect]) -> Budget:
    """The budget with the loss that its metric must detect in this test."""
    loss = {entry.metric: entry.loss for entry in detect}.get(budget.metric.name)
    if loss is None:
        return budget
    return dataclasses.replace(budget, metric=dataclasses.replace(budget.metric, detect=loss))


def _parse(entry: str, spelt: str) -> Detect:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise UsageError(f"{spelt}: {entry.strip()!r:.80} is no metric with a loss", _EXAMPLE)
    name, number, unit = match.groups()
    loss = float(number) / 100
    if not 0 < loss < 1:
        raise UsageError(f"{spelt}: {entry.strip()!r}", "a loss lies between 0 and 100")
    metric = find_metric(name)
    if metric is None:
        return Detect(name, loss, entry, spelt)
    wanted = "pt" if metric.unit == "share" else "%"
    if unit != wanted:
        raise UsageError(f"{spelt}: {entry.strip()!r}", f"a loss of {name} is given in {wanted}")
    return Detect(metric.name, loss)
