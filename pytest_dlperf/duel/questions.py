"""Contest: which budgets blocks of a duel can decide, with which errors, and what they said."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

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
_BRIEFLY: Final = frozenset({"errors", "compile_time"})


_WANTED: Final = tuple(
    map(parse_budget, ("throughput >= baseline", "p95 <= baseline", "accuracy >= baseline"))
)

UNASKED: Final = tuple(budget.metric for budget in _WANTED)
"""What a duel judges where a test has no relative budget."""


@dataclass(frozen=True, slots=True)
class BudgetTest:
    """One relative budget that blocks can decide.

    Attributes:
        budget: the condition.
        bounds: what loss it allows and what loss it must find, and how often it may err.
    """

    budget: Budget
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class SuspectedLoss:
    """A loss of a share, such as accuracy, that one pair showed and fresh pairs have to confirm.

    Attributes:
        budget: the condition.
        limits: the losses that it allows and must find, in shares of one.
        loss: what the first pair lost, with its interval.
    """

    budget: Budget
    limits: LossLimits
    loss: Estimate


@dataclass(frozen=True, slots=True)
class DuelSettings:
    """What a contest is held by.

    Attributes:
        shortest: seconds of the shortest slot.
        noise_metric: the metric that tells how noisy slots are; one that every block has.
        seconds: the most that the first stage may measure, and the most that the second may.
        rates: error rates.
    """

    shortest: float
    noise_metric: Metric
    seconds: float
    rates: ErrorRates


def pass_rate(allowed: float, rates: ErrorRates) -> float:
    """How often a budget may PASS though it is not held.

    A budget that demands a gain claims it when it passes, as others do when they fail.

    Args:
        allowed: the loss that it allows; below 0 it demands a gain.
        rates: error rates of the run.
    """
    return rates.stored if allowed < 0 else BETA


def noise_metric(*, open_loop: bool) -> Metric:
    """What tells how noisy slots are: in an open loop requests come at their own rate."""
    return METRICS["mean" if open_loop else "throughput"]


@dataclass(frozen=True, slots=True)
class BudgetOutcome:
    """What the blocks said of one budget.

    Attributes:
        decision: what is proven; None if neither is.
        loss: `log(cost of the candidate / cost of the base)`, with its interval.
        visible: the loss at which it would have been a FAIL with this noise.
        reason: why nothing is proven, or what to know; may be empty.
    """

    decision: Decision | None
    loss: Estimate
    visible: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DuelStatistics:
    """How a contest went.

    Attributes:
        answers: by the text of the budget.
        blocks: how many were measured, those of fresh pairs included.
        slot_seconds: how long a slot lasted.
        noise_figure: `S = sigma_block^2 * t_block`, in seconds; None if there were too few blocks.
        pairs: pairs of processes or targets that were measured at first.
        fresh: further pairs that were started to confirm a FAIL.
        measuring: seconds that blocks took, hand-overs included.
        starting: seconds that fresh pairs took to start.
        requests: that the candidate was asked in slots.
        bad: those of them that did not end well.
        effects: what each pair that was measured by itself lost, as log ratios, by the text of
            the budget.
    """

    answers: Mapping[str, BudgetOutcome]
    blocks: int
    slot_seconds: float
    noise_figure: float | None
    pairs: int
    fresh: int
    measuring: float
    starting: float
    requests: int
    bad: int
    effects: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def to_json(self) -> dict[str, object]:
        """How it went, as plain values; what came of it is in the judgements."""
        return {
            "blocks": self.blocks,
            "slot_seconds": self.slot_seconds,
            "noise_figure": self.noise_figure,
            "pairs": self.pairs,
            "fresh": self.fresh,
            "measuring": self.measuring,
            "starting": self.starting,
        }


def duel_budgets(plan: Plan, found: Measurement) -> tuple[Budget, ...]:
    """What a test is judged by in a duel.

    Its budgets; and if none of them is relative, as if it asked for no loss of throughput, of
    p95 and of accuracy, as far as it measures these.

    Args:
        plan: what the test asks for.
        found: what was measured.
    """
    if any(budget.relative for budget in plan.budgets):
        return plan.judged
    measured = {*found.metrics, *found.refused}
    wanted = (budget for budget in _WANTED if budget.metric.name in measured)
    return (*plan.judged, *(with_detect(budget, plan.detect) for budget in wanted))


def opening_seconds(plan: Plan) -> float:
    """How long the load before the slots lasts, where no budget is judged by it alone.

    It tells what the answers are, and about how long a call takes; the slots tell the speed.
    """
    return min(plan.load_seconds, _OPENING)


def needs_whole_load(plan: Plan) -> bool:
    """Whether a budget on speed or memory is absolute, and so judged by the load before slots."""
    return any(
        not (budget.relative or budget.metric.of_answers or budget.metric.name in _BRIEFLY)
        for budget in plan.judged
    )


def budget_tests(
    budgets: Iterable[Budget], base: Measurement, rates: ErrorRates
) -> tuple[BudgetTest, ...]:
    """The budgets that blocks can decide.

    Args:
        budgets: all of a test.
        base: what the base was measured to be, for limits that are not multiples of it.
        rates: how often each may err.
    """
    asked = []
    for budget in budgets:
        metric = budget.metric
        if not budget.relative or metric.name not in SLOTTED:
            continue
        value = base.metrics.get(metric.name)
        if value is None and budget.offset:
            continue  # a limit that nobody knows
        level = value.value if value is not None else 1.0
        if not (budget.limit(level) > 0 and level > 0):
            continue
        limits = LossLimits.of(budget, level)
        bounds = Bounds(limits, rates.screen, pass_rate(limits.allowed, rates))
        asked.append(BudgetTest(budget, bounds))
    return tuple(asked)


NOTHING: Final = DuelStatistics(
    answers=MappingProxyType({}),
    blocks=0,
    slot_seconds=0.0,
    noise_figure=None,
    pairs=0,
    fresh=0,
    measuring=0.0,
    starting=0.0,
    requests=0,
    bad=0,
)
"""The course of a contest in which there was nothing to be measured in turn."""
