"""What can be measured: one table of names, units, directions and judging constants.

Metrics are built in, or of a family that takes a goal (`train.time_to_accuracy(95%)`), or defined
by users. Of the last a process knows those that it has defined, and those whose definitions it has
read from stored files.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

from pytest_dlperf.errors import UsageError
from pytest_dlperf.units import Dimension

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: what is measured, and how it is judged.

    Attributes:
        name: as written in budgets.
        unit: dimension of its values.
        better: which direction is an improvement.
        detect: the loss that a relative budget must be able to see: a ratio minus one for
            speeds (0.05 is 5 %), an absolute difference for shares (0.01 is one point).
        run_noise: prior standard deviation, as a ratio, between sessions of unchanged code on one
            machine, beyond their own errors; stored sessions gradually outweigh it. Of a loss: the
            effect of another order of additions, or of training again from the same seed.
        percentile: which percentile of the latency it is, in percent, if it is one.
        latency: whether it is a duration of requests.
        goal: the accuracy to reach, in shares of one, if it is the time to an accuracy.
        by_user: whether a user has defined it, as the mean of a score of each answered row.
    """

    name: str
    unit: Dimension
    better: Better
    detect: float
    run_noise: float = 0.0
    percentile: float | None = None
    latency: bool = False
    goal: float | None = None
    by_user: bool = False

    @property
    def of_answers(self) -> bool:
        """Whether it measures the answers, not the machine; it needs labels."""
        return self.by_user or self.name in ANSWER_METRICS

    @property
    def of_training(self) -> bool:
        """Whether it measures a training."""
        return self.name.startswith(_TRAINING)

    @property
    def is_speed(self) -> bool:
        """Whether it depends on the machine's speed, and so is not judged if that has changed."""
        return self.unit in {"1/s", "s"} and not self.by_user


def _percentile(percent: float, detect: float) -> Metric:
    return Metric(f"p{percent:g}", "s", "lower", detect, max(0.05, detect), percent, latency=True)


ANSWER_METRICS: Final = frozenset({"accuracy", "loss"})
"""Built-in metrics of the answers: they need labels, and are judged in a smoke run too."""

_TRAINING: Final = "train."

METRICS: Final = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("throughput", "1/s", "higher", 0.05, 0.05),
            Metric("goodput", "1/s", "higher", 0.05, 0.05),
            Metric("max_rate", "1/s", "higher", 0.10, 0.10),
            _percentile(50, 0.05),
            _percentile(90, 0.10),
            _percentile(95, 0.10),
            _percentile(99, 0.25),
            _percentile(99.9, 0.25),
            Metric("mean", "s", "lower", 0.05, 0.05, latency=True),
            Metric("max", "s", "lower", 0.25, 0.25, latency=True),
            Metric("errors", "share", "lower", 0.001),
            Metric("accuracy", "share", "higher", 0.01),
            Metric("loss", "1", "lower", 0.05, 0.01),
            Metric("peak_memory", "bytes", "lower", 0.05, 0.05),
            Metric("model_size", "bytes", "lower", 0.05),
            Metric("compile_time", "s", "lower", 0.25, 0.25),
            Metric("train.time", "s", "lower", 0.10, 0.10),
            Metric("train.throughput", "1/s", "higher", 0.10, 0.10),
            Metric("train.peak_memory", "bytes", "lower", 0.05, 0.05),
        )
    }
)
"""All built-in metrics without a goal."""

# An epoch more or less is a large step.
_TO_ACCURACY: Final = Metric("train.time_to_accuracy", "s", "lower", 0.25, 0.25)

FAMILIES: Final = MappingProxyType({_TO_ACCURACY.name: _TO_ACCURACY})
"""Metrics that take a goal in brackets, by the name before the brackets."""

_WITH_GOAL: Final = re.compile(r"([a-z._]+)\s*\(\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*\)")

TRAIN_METRICS: Final = frozenset(
    {name for name in (*METRICS, *FAMILIES) if name.startswith(_TRAINING)}
    | ANSWER_METRICS
    | {"compile_time"}
)
"""What a training measures, besides users' metrics and the requested ones of a family."""

RATE_METRICS: Final = ANSWER_METRICS | {"max_rate", "errors", "peak_memory", "compile_time"}
"""What a search for the highest rate measures, besides users' metrics: its loads differ, so that
they share no latency."""

LOAD_METRICS: Final = frozenset(
    name for name in METRICS if not name.startswith(("max_rate", "model_size", _TRAINING))
)
"""What one load measures, besides users' metrics."""

_SAME_ANSWERS: Final = METRICS["loss"].run_noise
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
NAME_HINT: Final = "a letter, then letters, digits and _; at most 40 characters, such as ndcg10"

# Tables of the process, like Python's of codecs: defined here, and read from files.
_defined: dict[str, Metric] = {}
_read: dict[str, Metric] = {}


def find_metric(name: str) -> Metric | None:
    """The metric of a name, None if it is not known here."""
    known = METRICS.get(name) or _defined.get(name) or _read.get(name)
    if known is not None:
        return known
    match = _WITH_GOAL.fullmatch(name)
    if match is None or match[1] not in FAMILIES:
        return None
    goal = float(match[2]) * (0.01 if match[3] else 1.0)
    return with_goal(FAMILIES[match[1]], goal) if 0 < goal <= 1 else None


def with_goal(family: Metric, goal: float) -> Metric:
    """The metric of a family that has a goal, a share of one above 0.

    >>> with_goal(FAMILIES["train.time_to_accuracy"], 0.95).name
    'train.time_to_accuracy(95%)'
    """
    exact = float(f"{goal:.10g}")  # 0.7 % and 0.007 are the same
    return replace(family, name=f"{family.name}({exact * 100:.8g}%)", goal=exact)


def metric_named(name: str) -> Metric:
    """The metric of a name: built in, with a goal, or a user's.

    Raises:
        UsageError: if there is none.

    >>> metric_named("train.time_to_accuracy(0.95)").name
    'train.time_to_accuracy(95%)'
    """
    __tracebackhide__ = True
    metric = find_metric(name)
    if metric is None:
        raise UsageError(f"unknown metric {name!r:.80}", unknown_hint(name))
    return metric


def unknown_hint(name: str) -> str:
    """The hint for a name that is no metric's."""
    if name in FAMILIES:
        return f"say which: {name}(95%)"
    names = metric_names()
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{guess}metrics: {' '.join(names)}; define your own with @pytest_dlperf.metric"


def metric_names() -> tuple[str, ...]:
    """All names, for messages."""
    return (*METRICS, *(f"{name}(95%)" for name in FAMILIES), *sorted({**_read, **_defined}))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Known metrics in the order of the table: built in, with a goal, users'; each once."""
    given = set(names)
    others = (metric_named(name) for name in given - set(METRICS))
    rest = sorted(others, key=lambda metric: (metric.by_user, metric.goal or 0.0, metric.name))
    return (*(name for name in METRICS if name in given), *(metric.name for metric in rest))


def measured_by(names: Iterable[str], metric: Metric) -> bool:
    """Whether a metric is among names, by its family, or a user's."""
    return metric.by_user or metric.name.partition("(")[0] in set(names)


def users_metric(name: str, unit: Dimension, better: Better, detect: float) -> Metric:
    """A user's metric.

    Raises:
        UsageError: for invalid properties, or the name of a built-in metric.
    """
    __tracebackhide__ = True
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"metric {name!r:.80}: that is no name of a metric", NAME_HINT)
    taken = {re.sub(r"\W", "_", built_in) for built_in in (*METRICS, *FAMILIES)}
    if name in taken or name == "baseline":
        raise UsageError(f"metric {name!r}: this name is taken", "choose another: name='...'")
    if unit not in get_args(Dimension):
        units = ", ".join(map(repr, get_args(Dimension)))
        raise UsageError(f"metric {name!r}: unit={unit!r:.80}", f"expected one of {units}")
    if better not in get_args(Better):
        raise UsageError(f"metric {name!r}: better={better!r:.80}", "expected 'higher' or 'lower'")
    number = isinstance(detect, int | float) and not isinstance(detect, bool)
    if not number or not 0 < detect < 1:
        wanted = "a loss between 0 and 1: 0.01 is one point of a share, or 1 % of anything else"
        raise UsageError(f"metric {name!r}: detect={detect!r:.80}", f"expected {wanted}")
    return Metric(name, unit, better, float(detect), _SAME_ANSWERS, by_user=True)


def define(metric: Metric) -> None:
    """Put a user's metric into the table.

    Raises:
        UsageError: if there is one of its name with other properties.
    """
    __tracebackhide__ = True
    known = _defined.get(metric.name)
    if known is not None and known != metric:
        raise UsageError(
            f"metric {metric.name!r} is defined twice: as {_described(known)}, "
            f"and as {_described(metric)}",
            "give one of them another name",
        )
    _defined[metric.name] = metric


def _described(metric: Metric) -> str:
    return f"unit={metric.unit!r}, better={metric.better!r}, detect={metric.detect:g}"


def definitions_of(names: Iterable[str]) -> dict[str, dict[str, object]]:
    """Definitions of the users' metrics among names, for a file: plain values, sorted by name."""
    metrics = (find_metric(name) for name in sorted(set(names)))
    return {
        metric.name: {"unit": metric.unit, "better": metric.better, "detect": metric.detect}
        for metric in metrics
        if metric is not None and metric.by_user
    }


def read_definitions(value: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Register the users' metrics of a file; those defined in this process take precedence.

    Returns:
        Names that have another unit or another direction in this process.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: if the values are not of this shape.
    """
    others = set()
    for name, definition in value.items():
        unit = cast("Dimension", definition["unit"])
        better = cast("Better", definition["better"])
        stored = users_metric(name, unit, better, definition["detect"])
        known = _defined.get(name) or _read.setdefault(name, stored)
        if (known.unit, known.better) != (stored.unit, stored.better):
            others.add(name)
    return frozenset(others)


USUAL: Final = (
    *("throughput", "max_rate", "p50", "p99", "accuracy"),
    *("train.time", "train.throughput"),
)
"""Metrics that are shown unless another is asked for; users' and those with a goal are, too."""


def is_usual(name: str) -> bool:
    """Whether a metric is shown unless another is asked for."""
    return name in USUAL or metric_named(name).by_user or "(" in name
