"""Detect: the loss that a relative budget must find, where it is not the metric's own."""

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
    """The loss of one metric that must be found.

    Attributes:
        metric: its name.
        loss: a ratio minus one for speeds (0.03 is 3 %), an absolute difference for shares
            (0.005 is half a point).
        unread: how it was written, where the metric was not known yet: options are read before
            the tests that define metrics are imported.
        spelt: how the option is written, for messages about that.
    """

    metric: str
    loss: float
    unread: str = ""
    spelt: str = ""


def parse_detect(value: object, spelt: str) -> tuple[Detect, ...]:
    """Losses by metric, from text such as `throughput 3%, accuracy 0.5pt`.

    Args:
        value: the text, or what was parsed already.
        spelt: how the option is written, for messages.

    Raises:
        UsageError: for what is no such text, or a unit that is not the metric's own: points for
            shares, percent for everything else. Of a metric that is not known yet,
            `resolve_detect` says it.
    """
    if not isinstance(value, str):
        raise UsageError(f"{spelt}={value!r:.80} is no text", _EXAMPLE)
    return tuple(_parse(entry, spelt) for entry in value.split(","))


def resolve_detect(detect: Iterable[Detect]) -> tuple[Detect, ...]:
    """The losses, now that all metrics are defined.

    Raises:
        UsageError: for a metric that is none, or a unit that is not its own.
    """
    __tracebackhide__ = True
    found = []
    for one in detect:
        if one.unread:
            try:
                metric_named(one.metric)
            except UsageError as error:
                raise UsageError(f"{one.spelt}: {error.problem}", error.hint) from None
        found.append(_parse(one.unread, one.spelt) if one.unread else one)
    return tuple(found)


def with_detect(budget: Budget, detect: Iterable[Detect]) -> Budget:
    """The budget, of a metric with the loss that must be found here."""
    loss = {one.metric: one.loss for one in detect}.get(budget.metric.name)
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
