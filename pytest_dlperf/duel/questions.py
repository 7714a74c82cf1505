"""What a duel asks: its budgets, what can decide them, and the outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.config.budgets import Budget, parse_budget
from pytest_dlperf.config.detect import with_detect
from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.pair_effects import PairBounds, spread_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.judge.loss_evidence import LossEvidence
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.statistics.estimate import Decision, Estimate
    from pytest_dlperf.statistics.pair_effects import Spread

_OPENING: Final = 0.3
_BRIEFLY: Final = frozenset({"errors", "compile_time"})  # a brief load shows them as well

_DEFAULT_BUDGETS: Final = tuple(
    map(parse_budget, ("throughput >= baseline", "p95 <= baseline", "accuracy >= baseline"))
)
_LOSS_BUDGET: Final = parse_budget("loss <= baseline")

ACCURACY_BUDGET: Final = _DEFAULT_BUDGETS[-1].text
DEFAULT_TEXTS: Final = frozenset(budget.text for budget in (*_DEFAULT_BUDGETS, _LOSS_BUDGET))

DEFAULT_METRICS: Final = tuple(budget.metric for budget in _DEFAULT_BUDGETS)
"""Metrics that a duel judges where a test has no relative budget."""


@dataclass(frozen=True, slots=True)
class BudgetTest:
    """One relative budget that pairs can decide by slots, and the losses that they tell apart."""

    budget: Budget
    bounds: PairBounds


@dataclass(frozen=True, slots=True)
class ShareQuestion:
    """A relative budget on a share, such as accuracy, with the evidence of the first pair's rows.

    Attributes:
        limits: the losses that the budget allows and must find, in shares of one.
        evidence: of the rows that both sides of the first pair answered.
        rates: of the budget.
    """

    budget: Budget
    limits: LossLimits
    evidence: LossEvidence
    rates: ErrorRates

    @property
    def bounds(self) -> PairBounds:
        """The losses to tell apart, and the error rates."""
        return bounds_of(self.limits, self.rates)


@dataclass(frozen=True, slots=True)
class DuelSettings:
    """How slots are measured, and for how long.

    Attributes:
        slot_seconds: length of a slot.
        cost_metric: by which noise and the gain from more processors are seen; all blocks have it.
        seconds: limit of the whole duel, from its first slot on.
        processors: that may be used; empty where processes cannot be kept on some.
        spread: prior spread of a metric's pairs.
    """

    slot_seconds: float
    cost_metric: Metric
    seconds: float
    processors: frozenset[int] = frozenset()
    spread: Callable[[Metric], Spread] = spread_of


def bounds_of(limits: LossLimits, rates: ErrorRates) -> PairBounds:
    """The losses that pairs tell apart for a budget, at the rates of the run."""
    # A budget that demands a gain makes its claim by a PASS, as others do by a FAIL.
    beta = rates.stored if limits.allowed < 0 else rates.missed
    return PairBounds(limits.allowed, limits.line, rates.stored, beta)


def cost_metric(*, open_loop: bool) -> Metric:
    """The metric by which noise and the gain from more processors are seen."""
    # In an open loop the throughput is the rate of the arrivals.
    return METRICS["mean" if open_loop else "throughput"]


@dataclass(frozen=True, slots=True)
class BudgetOutcome:
    """The outcome of one budget.

    Attributes:
        decision: None if nothing is proven.
        loss: `log(cost of the candidate / cost of the base)`; of shares, the difference; None if
            no pair showed the metric.
        visible: the smallest loss that would have been a FAIL with this noise.
        reason: why nothing is proven, or a remark; may be empty.
    """

    decision: Decision | None
    loss: Estimate | None
    visible: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DuelStatistics:
    """Outcomes and costs of the slots of a duel.

    Attributes:
        outcomes: by the text of the budget.
        pairs: pairs of processes or targets that were measured.
        blocks: number of blocks of all pairs.
        slot_seconds: length of a slot.
        processors: how many each pair was kept on; 0 if it was kept on none.
        measuring: seconds that blocks took, hand-overs included.
        starting: seconds that all pairs but the first took to start.
        requests: of the candidate's slots.
        bad: requests of these that failed.
        effects: the log ratio of each pair, by the text of the budget.
    """

    outcomes: Mapping[str, BudgetOutcome] = field(default_factory=lambda: MappingProxyType({}))
    pairs: int = 0
    blocks: int = 0
    slot_seconds: float = 0.0
    processors: int = 0
    measuring: float = 0.0
    starting: float = 0.0
    requests: int = 0
    bad: int = 0
    effects: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def to_json(self) -> dict[str, object]:
        """The costs as plain values; the outcomes are in the judgements."""
        counts = ("pairs", "blocks", "slot_seconds", "processors", "measuring", "starting")
        return {
            **{name: getattr(self, name) for name in counts},
            "effects": {text: list(effects) for text, effects in self.effects.items()},
        }


@dataclass(frozen=True, slots=True)
class EarlierEvidence:
    """Effects of the pairs of earlier duels of a test, by the text of the budget.

    Attributes:
        repeated: of all duels of the same two versions; a run that is repeated continues from them.
        others: of each duel of other versions: they show how much pairs differ.
    """

    repeated: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))
    others: tuple[Mapping[str, tuple[float, ...]], ...] = ()

    def duels(self, text: str) -> list[tuple[float, ...]]:
        """The effects of the pairs of each duel of other versions, on one budget."""
        return [effects[text] for effects in self.others if text in effects]


NO_EVIDENCE: Final = EarlierEvidence()
"""Of a test whose first duel this is."""


def duel_budgets(plan: Plan, measurement: Measurement) -> tuple[Budget, ...]:
    """The budgets of a test in a duel, with defaults for what it measures if none is relative.

    Where answers have a loss and no accuracy, the loss takes its place.
    """
    if any(budget.relative for budget in plan.budgets):
        return plan.judged
    measured = {*measurement.metrics, *measurement.refused}
    defaults = _DEFAULT_BUDGETS if "accuracy" in measured else (*_DEFAULT_BUDGETS, _LOSS_BUDGET)
    asked = (budget for budget in defaults if budget.metric.name in measured)
    return (*plan.judged, *(with_detect(budget, plan.detect) for budget in asked))


def default_note(plan: Plan, measurement: Measurement) -> str:
    """Why the accuracy is not among the default budgets; empty if it is, or there are none."""
    measured = {*measurement.metrics, *measurement.refused}
    if any(budget.relative for budget in plan.budgets) or "accuracy" in measured:
        return ""
    if "loss" in measured:
        return (
            "accuracy is not judged: labels and answers are read as a regression; the loss is "
            "judged in its place (task= names another reading)"
        )
    return "accuracy is not judged: the data has no labels, or none that give an accuracy"


def opening_seconds(plan: Plan) -> float:
    """Seconds of the load before the slots, where no budget is judged by it alone."""
    return min(plan.load_seconds, _OPENING)


def needs_whole_load(plan: Plan) -> bool:
    """Whether an absolute budget on speed or memory is judged by the load before the slots."""
    return any(
        not (budget.relative or budget.metric.of_answers or budget.metric.name in _BRIEFLY)
        for budget in plan.judged
    )


def budget_tests(
    budgets: Iterable[Budget], base: Measurement, rates: ErrorRates
) -> tuple[BudgetTest, ...]:
    """The tests of those budgets that blocks can decide.

    Args:
        budgets: all of a test.
        base: the base's measurement, for limits that are not multiples of it.
        rates: of each budget.
    """
    tests = []
    for budget in budgets:
        metric = budget.metric
        if not budget.relative or metric.name not in SLOTTED:
            continue
        value = base.metrics.get(metric.name)
        if value is None and budget.offset:
            continue  # an offset from an unknown value
        level = value.value if value is not None else 1.0
        if not (budget.limit(level) > 0 and level > 0):
            continue
        limits = LossLimits.of(budget, level)
        tests.append(BudgetTest(budget, bounds_of(limits, rates)))
    return tuple(tests)


def relative_budgets(measuring: Iterable[Mapping[str, Any]]) -> int:
    """How many relative budgets tests have, as a worker describes them; defaults included."""
    return sum(len(test["budgets"]) or len(DEFAULT_METRICS) for test in measuring)


NOTHING: Final = DuelStatistics()
"""Of a duel without slots."""
