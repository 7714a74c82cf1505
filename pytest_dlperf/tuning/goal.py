"""Goal of tuning: an objective and constraints, read from texts.

    maximize METRIC | minimize METRIC      the objective, exactly one
    METRIC OP VALUE                        budgets as constraints, any number

Several may stand in one text: `maximize throughput subject to p99 <= 20ms, accuracy >= 95%`.
`baseline` is the setup without tuning.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.config.budgets import Budget, parse_budget
from pytest_dlperf.errors import BudgetSyntaxError, UsageError
from pytest_dlperf.judge.contrasts import lost_on_rows, unpaired_loss
from pytest_dlperf.judge.losses import LossLimits, cost
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.row_evidence import Rows, RowScores
    from pytest_dlperf.statistics.estimate import Estimate

_OBJECTIVE: Final = re.compile(r"\s*(?P<verb>maximi[sz]e|minimi[sz]e)\b\s*(?P<metric>.*?)\s*")
_BETWEEN: Final = re.compile(r"\s*(?:,|\bsubject\s+to\b)\s*")
_EXAMPLE: Final = "such as 'maximize throughput', 'accuracy >= baseline - 0.5pt'"
_OBJECTIVES: Final = "one objective; ask for the other as a budget, such as 'p99 <= 20ms'"

_LEAST_GAIN: Final = 1e-9  # relative: any proven gain is enough


@dataclass(frozen=True, slots=True)
class ConstraintMargin:
    """By how much one constraint is met or broken.

    Attributes:
        budget: the constraint.
        limit: in the metric's base unit; None if it depends on an unknown baseline.
        excess: by how much it is broken, a logarithm of the cost or shares of one; at most 0 if
            it is met. None if the metric or the limit is not known.
        reach: half the interval of the excess.
        room: by how much the judge lets a constraint be broken, since that is less than the loss
            that a budget on this metric has to detect.
    """

    budget: Budget
    limit: float | None
    excess: float | None
    reach: float
    room: float = 0.0

    @property
    def sure(self) -> bool:
        """Whether it is met beyond the noise, within the room."""
        return self.excess is not None and self.excess + self.reach <= self.room

    @property
    def holds(self) -> bool:
        """Whether the values meet it, whatever the noise."""
        if self.excess is None:
            return False
        strict = self.budget.operator in {"<", ">"}
        return self.excess < 0 if strict else self.excess <= 0

    @property
    def broken(self) -> bool:
        """Whether it is broken beyond the noise, or its metric was not measured."""
        return not self.holds and (self.excess is None or self.excess > self.reach)


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements that constraints are checked on.

    Attributes:
        metrics: by name.
        rows: which rows were answered rightly, if that is known.
        scores: of each row by users' metrics, if there are any.
        seeds: none; models that are tuned are trained from one.
    """

    metrics: Mapping[str, Estimate]
    rows: Rows | None = None
    scores: RowScores | None = None
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Goal:
    """Objective and constraints of tuning."""

    objective: Metric
    constraints: tuple[Budget, ...] = ()

    @property
    def verb(self) -> str:
        """`maximize` or `minimize`."""
        return "maximize" if self.objective.better == "higher" else "minimize"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of objective and constraints, each once, the objective first."""
        names = (self.objective.name, *(budget.metric.name for budget in self.constraints))
        return tuple(dict.fromkeys(names))

    @property
    def gain(self) -> Budget:
        """The objective as a budget of a duel: better than the base, by however little."""
        # The judge passes a demanded gain only when it is proven.
        higher = self.objective.better == "higher"
        return Budget(
            text=f"{self.objective.name} {'>' if higher else '<'} baseline",
            metric=self.objective,
            operator=">" if higher else "<",
            factor=1 + _LEAST_GAIN if higher else 1 - _LEAST_GAIN,
            offset=0.0,
        )

    def cost(self, metrics: Mapping[str, Estimate]) -> float:
        """The cost of the objective, less is better: a logarithm, or of a share its shortfall.

        Infinite if it was not measured.
        """
        measured = metrics.get(self.objective.name)
        return math.inf if measured is None else cost(self.objective, measured.value)

    def slacks(self, measured: Measured, base: Measured | None) -> tuple[ConstraintMargin, ...]:
        """The margin of each constraint; `base` is the setup without tuning, if it was measured."""
        return tuple(_slack(budget, measured, base) for budget in self.constraints)

    def __str__(self) -> str:
        texts = ", ".join(budget.text for budget in self.constraints)
        return f"{self.verb} {self.objective.name}" + (f" subject to {texts}" if texts else "")


def parse_goal(texts: Iterable[str]) -> Goal:
    """Read a goal.

    Raises:
        BudgetSyntaxError: with the place marked, for what is neither an objective nor a budget,
            a direction in which the objective cannot get better, or a second objective.
        UsageError: if there is no objective.
    """
    __tracebackhide__ = True
    objectives: list[Metric] = []
    constraints: list[Budget] = []
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{text!r:.80} is no text", _EXAMPLE)
        for start, piece in _pieces(text):
            match = _OBJECTIVE.fullmatch(piece)
            if match is None:
                constraints.append(_constraint(text, start, piece))
                continue
            if objectives:
                problem = f"a second objective, after {objectives[0].name}"
                raise BudgetSyntaxError(text, start, len(piece), problem, _OBJECTIVES)
            objectives.append(_objective(text, start, match))
    if not objectives:
        raise UsageError("there is no objective", f"say what is to get better, {_EXAMPLE}")
    return Goal(objectives[0], tuple(constraints))


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for between in (*_BETWEEN.finditer(text), None):
        end = between.start() if between else len(text)
        yield start, text[start:end]
        start = between.end() if between else end


def _objective(text: str, start: int, match: re.Match[str]) -> Metric:
    __tracebackhide__ = True
    name, place = match["metric"], start + match.start("metric")
    if not name:
        raise BudgetSyntaxError(
            text, place, 1, "which metric?", f"such as {match['verb']} throughput"
        )
    try:
        metric = metric_named(name)
    except UsageError as error:
        problem = error.problem.partition("\n")[0]
        raise BudgetSyntaxError(text, place, len(name), problem, error.hint) from None
    wanted = "maximize" if metric.better == "higher" else "minimize"
    if match["verb"][:3] != wanted[:3]:
        raise BudgetSyntaxError(
            text,
            start + match.start("verb"),
            len(match["verb"]),
            f"{name} is better when {metric.better}, so this asks for a bad one",
            f"write {wanted} {name}",
        )
    return metric


def _constraint(text: str, start: int, piece: str) -> Budget:
    __tracebackhide__ = True
    try:
        return parse_budget(piece)
    except BudgetSyntaxError as error:
        # Mark the place in the whole text, as the user wrote it.
        problem = error.problem.partition("\n    ")[0]
        hint = error.hint if piece.split() else _EXAMPLE
        raise BudgetSyntaxError(text, start + error.start, error.length, problem, hint) from None


def _slack(budget: Budget, measured: Measured, base: Measured | None) -> ConstraintMargin:
    metric = budget.metric
    now = measured.metrics.get(metric.name)
    then = base.metrics.get(metric.name) if base and budget.relative else None
    if now is None or (budget.relative and then is None):
        return ConstraintMargin(budget, None if budget.relative else budget.offset, None, 0.0)
    limit = budget.limit(then.value if then else 0.0)
    excess = cost(metric, now.value) - cost(metric, limit)
    if budget.operator == "==":
        excess = abs(excess)
    reach, room = _reach(metric, (measured, base), now, then), 0.0
    if then is not None and budget.operator != "==":
        limits = LossLimits.of(budget, then.value)
        room = limits.line - limits.allowed
    return ConstraintMargin(budget, limit, excess, reach, room)


def _reach(
    metric: Metric,
    both: tuple[Measured, Measured | None],
    now: Estimate,
    then: Estimate | None,
) -> float:
    """Half the interval of the loss; paired by rows where possible, which is narrower."""
    measured, base = both
    lost = lost_on_rows(metric, measured, base) if base and then is not None else None
    if lost is not None:
        return (lost.high - lost.low) / 2
    return unpaired_loss(metric, then or counted(now.value), now)[1]
