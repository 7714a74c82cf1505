"""Budgets: one condition on one metric, read from the text of a marker.

METRIC OP VALUE        OP is one of < <= > >= ==
METRIC                 a name; with a goal train.time_to_accuracy(95%)
VALUE                  a quantity, or  [K *] baseline [+|- quantity]
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, TypeAlias, get_args

from pytest_dlperf.errors import BudgetSyntaxError, UsageError
from pytest_dlperf.metrics import (
    FAMILIES,
    Metric,
    find_metric,
    metric_names,
    unknown_hint,
    with_goal,
)
from pytest_dlperf.units import EXAMPLES, UNITS, Dimension

Operator: TypeAlias = Literal["<", "<=", ">", ">=", "=="]

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<number>[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<word>[A-Za-zµ][A-Za-zµ0-9_]*(?:\.[A-Za-z0-9_]+)?)
    | (?P<rate>/\s*[A-Za-z]+)
    | (?P<operator><=|>=|==|<|>|=|!=)
    | (?P<sign>[-+*])
    | (?P<percent>%)
    | (?P<other>\S)
    )""",
    re.VERBOSE,
)
_LARGEST_FACTOR: Final = 1e6
_PERCENT: Final = 100
_COUNTED: Final = frozenset({"errors", "accuracy"})  # may be compared with ==
_NAMES: Final[dict[Dimension, str]] = {
    "s": "units of time",
    "1/s": "events a second",
    "share": "shares",
    "bytes": "bytes",
    "1": "bare numbers",
}
_EXAMPLE = "such as slo='p99 <= 10ms'"


@dataclass(frozen=True, slots=True)
class Budget:
    """One condition on one metric.

    The limit is `offset` alone, or `factor * baseline + offset` when `factor` is given, in the
    base unit of the metric (shares as shares of one, so half a point is 0.005).

    Attributes:
        text: the condition as the user wrote it.
        metric: the measured quantity.
        operator: between the measured value and the limit.
        factor: multiple of the baseline, or None for an absolute limit.
        offset: absolute part of the limit.
    """

    text: str
    metric: Metric
    operator: Operator
    factor: float | None
    offset: float

    @property
    def relative(self) -> bool:
        """Whether the limit depends on a baseline."""
        return self.factor is not None

    def limit(self, baseline: float) -> float:
        """The limit in the metric's base unit; `baseline` is ignored by an absolute budget."""
        return self.offset if self.factor is None else self.factor * baseline + self.offset


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def parse_budget(text: str) -> Budget:
    """Read one budget.

    Raises:
        BudgetSyntaxError: with the position marked, for an unknown metric, a wrong unit, or a
            direction in which the metric cannot get worse.

    >>> parse_budget("throughput >= 0.95 * baseline").limit(1000.0)
    950.0
    >>> parse_budget("accuracy >= baseline - 0.5pt").offset
    -0.005
    """
    return _Parser(text).budget()


def _unknown(unit: str, number: _Token, wanted: str) -> tuple[str, str]:
    """The problem with a word where a unit belongs, and what to write."""
    if unit == "baseline":
        return "a sign is missing", f"write {number.text} * baseline"
    return f"unknown unit {unit!r}", wanted


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [
            _Token(match.lastgroup or "", match[match.lastgroup or 0], match.start(match.lastgroup))
            for match in _TOKEN.finditer(text)
            if match.lastgroup
        ]
        self._next = 0

    def budget(self) -> Budget:
        metric = self._metric()
        operator = self._operator(metric)
        factor, offset = self._value(metric)
        if self._peek() is not None:
            self._fail(self._peek(), "nothing may follow a budget's value", "one budget a string")
        return Budget(self._text.strip(), metric, operator, factor, offset)

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, kind: str, *texts: str) -> _Token | None:
        token = self._peek()
        if token is None or token.kind != kind or (texts and token.text not in texts):
            return None
        self._next += 1
        return token

    def _fail(self, token: _Token | None, problem: str, hint: str = "") -> NoReturn:
        __tracebackhide__ = True
        start, length = (token.start, len(token.text)) if token else (len(self._text.rstrip()), 1)
        raise BudgetSyntaxError(self._text, start, length, problem, hint)

    def _metric(self) -> Metric:
        token = self._take("word")
        if token is None:
            known = "metrics: " + " ".join(metric_names())
            self._fail(self._peek(), "a budget starts with a metric", known)
        if token.text in FAMILIES:
            return with_goal(FAMILIES[token.text], self._goal(token))
        metric = find_metric(token.text)
        if metric is None:
            self._fail(token, f"unknown metric {token.text!r}", unknown_hint(token.text))
        return metric

    def _goal(self, family: _Token) -> float:
        """The goal in brackets after a metric that takes one, in shares of one."""
        example = f"write {family.text}(95%)"
        if not self._take("other", "("):
            self._fail(family, "which accuracy is to be reached?", example)
        if self._peek() is None or self._take("other", ")"):
            self._fail(self._last, "an accuracy is missing in the brackets", example)
        token = self._take("number")
        if token is None:
            self._fail(self._peek(), "an accuracy is expected in the brackets", example)
        goal = self._float(token) * (0.01 if self._take("percent") else 1.0)
        if not 0 < goal <= 1:
            self._fail(token, "an accuracy is a share above 0, at most 100 %", "95% or 0.95")
        if not self._take("other", ")"):
            self._fail(self._peek(), "a closing bracket is missing", example)
        return goal

    @property
    def _last(self) -> _Token:
        """The token that was taken last."""
        return self._tokens[self._next - 1]

    def _operator(self, metric: Metric) -> Operator:
        token = self._take("operator")
        if token is None or token.text not in get_args(Operator):
            self._fail(token or self._peek(), "expected a comparison", "one of < <= > >= ==")
        right = "<=" if metric.better == "lower" else ">="
        if token.text == "==":
            if metric.name not in _COUNTED and not metric.by_user:
                problem = f"a measured {metric.name} never equals a number exactly"
                self._fail(token, problem, f"write {metric.name} {right} ...")
        elif token.text[0] != right[0]:
            problem = f"{metric.name} is better when {metric.better}, so this asks for a bad one"
            self._fail(token, problem, f"write {metric.name} {right} ...")
        operator: Operator = token.text  # type: ignore[assignment]  # checked against the literal
        return operator

    def _value(self, metric: Metric) -> tuple[float | None, float]:
        if self._take("word", "baseline"):
            sign = self._take("sign", "*")
            if sign:
                number = self._take("number")
                factor = number.text if number else "0.95"
                self._fail(sign, "the factor comes first", f"write {factor} * baseline")
            return 1.0, self._offset(metric)
        number = self._number()
        if self._percent_of_baseline():
            share = self._float(number) / 100
            problem = "a baseline is multiplied with a factor, not with a percentage"
            self._fail(self._peek(), problem, f"write {share:g} * baseline")
        if self._take("sign", "*"):
            if not self._take("word", "baseline"):
                self._fail(self._peek(), "only `baseline` can be multiplied", "K * baseline")
            if not 0 < float(number.text) <= _LARGEST_FACTOR:
                self._fail(number, "no sensible multiple of a baseline", "0.95 * baseline")
            return float(number.text), self._offset(metric)
        limit = self._with_unit(number, metric)
        if metric.unit == "share" and limit > 1:
            bare = self._last is number and limit <= _PERCENT
            example = f"write {number.text}%" if bare else "write 97% or 0.97"
            self._fail(number, f"{metric.name} is a share: at most 100 %", example)
        return None, limit

    def _percent_of_baseline(self) -> bool:
        """Whether a percent sign follows, and a baseline after it."""
        rest = self._tokens[self._next :]
        return bool(rest) and rest[0].kind == "percent" and any(t.text == "baseline" for t in rest)

    def _number(self) -> _Token:
        token = self._take("number")
        if token is None:
            example = "a quantity such as 20ms, or 0.95 * baseline"
            self._fail(self._peek(), "expected a number or `baseline`", example)
        self._float(token)
        return token

    def _float(self, token: _Token) -> float:
        try:
            value = float(token.text)
        except ValueError:
            self._fail(token, "this is no number", "1000 or 1_000")
        if not math.isfinite(value):
            self._fail(token, "this number is too large")
        return value

    def _offset(self, metric: Metric) -> float:
        sign = self._take("sign", "+", "-")
        if sign is None:
            return 0.0
        direction = float(f"{sign.text}1")
        return direction * self._with_unit(self._number(), metric, direction)

    def _instead_of_percent(self, number: _Token, wanted: str, direction: float) -> str:
        if direction:
            factor = 1 + direction * self._float(number) / 100
            return f"write a factor: {factor:g} * baseline"
        return f"{wanted}; {self._float(number) / 100:g} * baseline is a share of the baseline"

    def _with_unit(self, number: _Token, metric: Metric, direction: float = 0.0) -> float:
        """A quantity; `direction` is 1 or -1 if it is added to a baseline or taken from it."""
        offset = bool(direction)
        token = self._take("word") or self._take("rate") or self._take("percent")
        wanted = (
            f"{metric.name} is measured in {_NAMES[metric.unit]}: write {EXAMPLES[metric.unit]}"
        )
        if token is None:
            if metric.unit not in {"share", "1"}:
                self._fail(number, "a unit is missing", wanted)
            if offset and metric.unit == "share":
                self._fail(number, "a unit is missing", "points of a share: write 0.5pt")
            return float(number.text)
        unit = token.text.replace(" ", "")
        dimension, factor = UNITS.get(unit, (None, 0.0))
        if dimension is None:
            self._fail(token, *_unknown(unit, number, wanted))
        if dimension != metric.unit:
            if unit == "%":
                wanted = self._instead_of_percent(number, wanted, direction)
            self._fail(token, f"{unit!r} is no unit of {metric.name}", wanted)
        if unit == "%" and offset:
            self._fail(
                token, "a percentage of what?", "points: 0.5pt, or a factor: 0.99 * baseline"
            )
        if unit == "pt" and not offset:
            self._fail(token, "points are differences", "write 97% or 0.97")
        value = float(number.text) * factor
        if not math.isfinite(value):
            self._fail(number, "this number is too large")
        return value


@dataclass(frozen=True, slots=True)
class LatencyLimit:
    """A share of the requests to answer within a time.

    Attributes:
        percent: of the requests, between 0 and 100.
        seconds: from intended time to answer.
    """

    percent: float
    seconds: float

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        if not (0 < self.percent < 100 and self.seconds > 0):  # noqa: PLR2004 - percent
            raise UsageError(f"slo: {self} can never be held", _EXAMPLE)

    def __str__(self) -> str:
        # In one unit and with all digits, since the text identifies the limit.
        return f"p{self.percent:g} <= {self.seconds * 1e3:.12g}ms"

    @property
    def share(self) -> float:
        """The share of the requests that must be answered in time."""
        return self.percent / 100


def parse_limit(text: object) -> LatencyLimit:
    """Read a limit written as an absolute budget on a percentile.

    Raises:
        UsageError: if it is anything else.

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
