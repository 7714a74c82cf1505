"""What a duel asks: its budgets, the tests that blocks can make of them, and the outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.config.budgets import Budget, parse_budget
from pytest_dlperf.config.detect import with_detect
from pytest_dlperf.duel.sequential_test import Bounds
from pytest_dlperf.judge.error_rates import BETA, SLOTTED, ErrorRates
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.statistics.estimate import Decision, Estimate

_OPENING: Final = 1.0
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
    """One relative budget that blocks can decide, and the losses that they tell apart."""

    budget: Budget
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class SuspectedLoss:
    """A loss of a share, such as accuracy, that fresh pairs have to confirm.

    Attributes:
        limits: the losses that the budget allows and must find, in shares of one.
        loss: of the first pair.
    """

    budget: Budget
    limits: LossLimits
    loss: Estimate


@dataclass(frozen=True, slots=True)
class DuelSettings:
    """How slots are measured, and for how long.

    Attributes:
        shortest: seconds of the shortest slot.
        noise_metric: estimates the noise of slots; every block has it.
        seconds: limit of each of the two stages.
        rates: of each budget.
    """

    shortest: float
    noise_metric: Metric
    seconds: float
    rates: ErrorRates


def pass_rate(allowed: float, rates: ErrorRates) -> float:
    """The error rate of a PASS on a budget that allows a loss; below 0 it demands a gain."""
    # A budget that demands a gain makes its claim by a PASS, as others do by a FAIL.
    return rates.stored if allowed < 0 else BETA


def noise_metric(*, open_loop: bool) -> Metric:
    """The metric by which the noise of slots is estimated."""
    # In an open loop the throughput is the rate of the arrivals.
    return METRICS["mean" if open_loop else "throughput"]


@dataclass(frozen=True, slots=True)
class BudgetOutcome:
    """The outcome of one budget.

    Attributes:
        decision: None if nothing is proven.
        loss: `log(cost of the candidate / cost of the base)`; of shares, the difference.
        visible: the smallest loss that would have been a FAIL with this noise.
        reason: why nothing is proven, or a remark; may be empty.
    """

    decision: Decision | None
    loss: Estimate
    visible: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DuelStatistics:
    """Outcomes and costs of the slots of a duel.

    Attributes:
        outcomes: by the text of the budget.
        blocks: number of blocks, those of fresh pairs included.
        slot_seconds: length of a slot.
        noise_figure: `S = sigma_block^2 * t_block`, in seconds; None if there were too few blocks.
        pairs: pairs of processes or targets of the first stage.
        fresh: further pairs, started to confirm a FAIL.
        measuring: seconds that blocks took, hand-overs included.
        starting: seconds that fresh pairs took to start.
        requests: of the candidate's slots.
        bad: requests of these that failed.
        effects: the log ratio of each pair, by the text of the budget.
    """

    outcomes: Mapping[str, BudgetOutcome] = field(default_factory=lambda: MappingProxyType({}))
    blocks: int = 0
    slot_seconds: float = 0.0
    noise_figure: float | None = None
    pairs: int = 0
    fresh: int = 0
    measuring: float = 0.0
    starting: float = 0.0
    requests: int = 0
    bad: int = 0
    effects: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def to_json(self) -> dict[str, object]:
        """The costs as plain values; the outcomes are in the judgements."""
        counts = ("blocks", "slot_seconds", "noise_figure", "pairs", "fresh")
        return {name: getattr(self, name) for name in (*counts, "measuring", "starting")}


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
        bounds = Bounds(limits, rates.screen, pass_rate(limits.allowed, rates))
        tests.append(BudgetTest(budget, bounds))
    return tuple(tests)


def relative_budgets(measuring: Iterable[Mapping[str, Any]]) -> int:
    """How many relative budgets tests have, as a worker describes them; defaults included."""
    return sum(len(test["budgets"]) or len(DEFAULT_METRICS) for test in measuring)


def smallest_detect(measuring: Iterable[Mapping[str, Any]]) -> float:
    """The smallest loss of speed that any test has to find, as a ratio minus one."""
    losses = []
    for test in measuring:
        by_metric = {metric: detect for _, metric, detect in test["budgets"]}
        if not by_metric:
            detects = dict(test["detect"])
            by_metric = {
                metric.name: detects.get(metric.name, metric.detect) for metric in DEFAULT_METRICS
            }
        losses += [detect for metric, detect in by_metric.items() if metric in SLOTTED]
    return min(losses, default=METRICS["throughput"].detect)


NOTHING: Final = DuelStatistics()
"""Of a duel without slots."""
