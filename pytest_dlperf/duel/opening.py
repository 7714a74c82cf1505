"""The load that each side of a duel is put under before the slots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.detect import Detect, with_detect
from pytest_dlperf.duel.questions import (
    DuelSettings,
    cost_metric,
    default_note,
    duel_budgets,
    needs_whole_load,
    opening_seconds,
)
from pytest_dlperf.duel.slot_length import slot_seconds
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.judge.second_look import to_confirm
from pytest_dlperf.results.environment import Environment
from pytest_dlperf.results.record import Record, record_from_json, record_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.evaluator import Measurable
    from pytest_dlperf.results.measurement import Measurement

_MARGIN: Final = 1.2  # of the load that answers every row, whose requests may come more slowly


def measure_opening(
    target: Measurable, plan: Plan, test: str, name: str, *, whole: bool
) -> Measurement:
    """Put a side under its load before the slots.

    The load is brief, since the slots measure the speed. If it does not answer every row, it is
    repeated for as long as that takes, because accuracy is compared row by row; for the plan's
    duration at most.

    Args:
        target: the side.
        plan: its load and budgets.
        test: pytest's node id.
        name: of the measurement.
        whole: whether absolute budgets are judged by this load, which then must not be brief.
    """
    brief = opening_seconds(plan)
    if whole and needs_whole_load(plan):
        return target.measure(test, name, plan.load_seconds)
    measurement, measured = target.measure(test, name, brief), brief
    answered = _share_answered(measurement)
    enough = _MARGIN * brief / answered if answered else plan.load_seconds
    for seconds in (min(enough, plan.load_seconds), plan.load_seconds):
        if _share_answered(measurement) < 1 and measured < seconds:
            measurement, measured = target.measure(test, name, seconds), seconds
    return measurement


def _share_answered(measurement: Measurement) -> float:
    """The share of the evaluation set's rows that were answered; 1 without such a set."""
    shares = [1.0]
    if measurement.rows is not None:
        shares.append(float(measurement.rows.answered.mean()))
    if measurement.scores is not None:
        scores = measurement.scores.scores.values()
        shares += [1.0 - float(np.isnan(each).mean()) for each in scores]
    return min(shares)


def measure_again(
    target: Measurable, plan: Plan, first: Measurement, environment: Environment
) -> Measurement | None:
    """Put the candidate under its whole load a second time, where an absolute budget is broken.

    None if none is, or none that a second measurement can confirm.
    """
    judged = judge(first, plan.judged, None, environment, "")
    if plan.quick or not to_confirm(first, plan.judged, judged):
        return None
    return target.measure(first.test, first.name, plan.load_seconds)


@dataclass(frozen=True, slots=True)
class Opening:
    """One side, as its load before the slots shows it.

    Attributes:
        budgets: of the duel.
        slot_seconds: length of a slot that is worth a hand-over.
        slotted: whether its load can be cut into slots.
        budget_time: the most that a duel may take, in seconds.
        second: the candidate under its load once more, if the first load broke an absolute budget.
    """

    measurement: Measurement
    environment: Environment
    budgets: tuple[Budget, ...]
    slot_seconds: float
    slotted: bool
    open_loop: bool
    budget_time: float
    second: Measurement | None = None

    @classmethod
    def of(
        cls,
        measurement: Measurement,
        plan: Plan,
        environment: Environment,
        *,
        slotted: bool,
        second: Measurement | None = None,
    ) -> Self:
        """Of a side that was measured by a plan."""
        note = "" if plan.quick else default_note(plan, measurement)
        notes = (*measurement.notes, note) if note else measurement.notes
        return cls(
            measurement=replace(measurement, notes=notes),
            environment=environment,
            budgets=plan.judged if plan.quick else duel_budgets(plan, measurement),
            slot_seconds=slot_seconds(plan, measurement),
            slotted=slotted,
            open_loop=plan.open_loop,
            budget_time=plan.budget_time,
            second=second,
        )

    def to_json(self) -> dict[str, object]:
        """As plain values, for the channel."""
        return {
            "record": _written(self.measurement),
            "environment": self.environment.to_json(),
            "budgets": [[budget.text, budget.metric.detect] for budget in self.budgets],
            "slot_seconds": self.slot_seconds,
            "slotted": self.slotted,
            "open_loop": self.open_loop,
            "budget_time": self.budget_time,
            "second": None if self.second is None else _written(self.second),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        second = fields["second"]
        return cls(
            measurement=record_from_json(fields["record"]).measurement,
            environment=Environment.from_json(fields["environment"]),
            budgets=tuple(_budget(text, detect) for text, detect in fields["budgets"]),
            slot_seconds=fields["slot_seconds"],
            slotted=fields["slotted"],
            open_loop=fields["open_loop"],
            budget_time=fields["budget_time"],
            second=None if second is None else record_from_json(second).measurement,
        )


def _written(measurement: Measurement) -> dict[str, object]:
    return record_to_json(Record(measurement, (), (), quick=False))


def _budget(text: str, detect: float) -> Budget:
    budget = parse_budget(text)
    return with_detect(budget, [Detect(budget.metric.name, detect)])


def duel_settings(base: Opening, candidate: Opening, processors: frozenset[int]) -> DuelSettings:
    """The settings that both sides have in common; `processors` are those that may be used."""
    return DuelSettings(
        slot_seconds=max(base.slot_seconds, candidate.slot_seconds),
        cost_metric=cost_metric(open_loop=candidate.open_loop),
        seconds=candidate.budget_time,
        processors=processors,
    )
