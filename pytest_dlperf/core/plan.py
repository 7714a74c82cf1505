"""The plan of a test: what will be measured and what is asked of it, settled at collection."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.core.budgets import Budget, parse_budget
from pytest_dlperf.core.metrics import ANSWER_METRICS
from pytest_dlperf.core.options import DEFAULTS, Leniency, Options, overlay
from pytest_dlperf.core.scenarios import Offline, OpenLoop, Scenario
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_dlperf.core.serving import Serving

ANY_ERROR = parse_budget("errors == 0")
"""What is asked of every measurement that has no budget on errors."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one measurement does and what it is held to.

    Attributes:
        budgets: the conditions, the nearest level's for each metric.
        scenario: the traffic.
        serving: batching and replicas.
        duration: seconds of measuring.
        slo: seconds within which an answer counts towards goodput; None measures no goodput.
        call_timeout: seconds after which a call of the target is given up.
        missing: what a relative budget without a baseline does to the test.
        inconclusive: what a budget that noise leaves open does to the test.
        quick: whether this is a smoke run.
    """

    budgets: tuple[Budget, ...]
    scenario: Scenario
    serving: Serving
    duration: float
    slo: float | None
    call_timeout: float
    missing: Leniency
    inconclusive: Leniency
    quick: bool

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        if self.serving.batch_timeout >= self.duration:
            raise UsageError(
                f"Serving(batch_timeout={self.serving.batch_timeout:g}) is no shorter than "
                f"duration={self.duration:g}",
                "a batch that does not fill would never be sent",
            )
        if self.serving.queue_limit is not None and not isinstance(self.scenario, OpenLoop):
            raise UsageError(
                f"Serving(queue_limit) needs requests that come by themselves, not {self.scenario}",
                "in a closed loop no more requests wait than there are clients",
            )
        for budget in self.budgets:
            if budget.metric.name == "goodput" and self.slo is None:
                raise UsageError(
                    f"budget {budget.text!r}: goodput counts the answers within a latency",
                    "say which: slo='20ms'",
                )
            needs_latency = budget.metric.latency or budget.metric.name == "goodput"
            if needs_latency and isinstance(self.scenario, Offline):
                raise UsageError(
                    f"budget {budget.text!r} needs a latency, and Offline() measures none",
                    "choose another scenario, or a budget on throughput",
                )

    @property
    def judged(self) -> tuple[Budget, ...]:
        """The budgets that are judged: all, or in a smoke run the absolute ones on answers."""
        lasting = ANSWER_METRICS | {"errors"}
        budgets = tuple(
            budget
            for budget in self.budgets
            if not self.quick or (budget.metric.name in lasting and not budget.relative)
        )
        about_errors = any(budget.metric.name == "errors" for budget in budgets)
        return budgets if about_errors else (*budgets, ANY_ERROR)

    def override(
        self,
        *,
        scenario: Scenario | None = None,
        serving: Serving | None = None,
        duration: float | None = None,
    ) -> Plan:
        """This plan with the arguments of a call, which win over the marker's."""
        __tracebackhide__ = True
        return dataclasses.replace(
            self,
            scenario=scenario or self.scenario,
            serving=serving or self.serving,
            duration=duration or self.duration,
        )

    def limited_to(self, metrics: Collection[str], call: str, hint: str) -> Plan:
        """This plan, if a call measures all that it has budgets on.

        Args:
            metrics: what the call measures.
            call: as the user writes it.
            hint: what to do with another budget.

        Raises:
            UsageError: naming the first budget that would not be judged.
        """
        __tracebackhide__ = True
        for budget in self.budgets:
            if budget.metric.name not in metrics:
                problem = f"{call} does not measure {budget.metric.name}"
                raise UsageError(f"budget {budget.text!r}: {problem}", hint)
        return self

    def only_errors(self) -> Plan:
        """This plan without any budget but the absolute ones on errors."""
        kept = (b for b in self.budgets if b.metric.name == "errors" and not b.relative)
        return dataclasses.replace(self, budgets=tuple(kept))


def plan(layers: Sequence[Options]) -> Plan:
    """The plan from all layers of options, nearest first.

    Raises:
        BudgetSyntaxError: for a budget that cannot be read.
        UsageError: for a budget on something that the scenario does not measure.
    """
    options = overlay((*layers, DEFAULTS))
    settled = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(Plan)
        if field.name != "budgets"
    }
    return Plan(budgets=_nearest(layers), **settled)


def _nearest(layers: Sequence[Options]) -> tuple[Budget, ...]:
    chosen: dict[str, list[Budget]] = {}
    for layer in layers:
        here: dict[str, list[Budget]] = {}
        for text in layer.budgets or ():
            budget = parse_budget(text)
            here.setdefault(budget.metric.name, []).append(budget)
        chosen = {**here, **chosen}
    return tuple(budget for budgets in chosen.values() for budget in budgets)
