"""Bout: one measurement of a candidate against its base, from opening to judgements."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.duel.questions import NOTHING, questions
from pytest_dlperf.duel.verdicts import (
    accuracy_answers,
    doubts,
    judge_duel,
    with_judged,
    with_slots,
)
from pytest_dlperf.results.baseline import accept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.duel.questions import Course
    from pytest_dlperf.duel.scheduler import Pair, Referee, Starter
    from pytest_dlperf.results.baseline import Revision
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.verdict import Judgement


@dataclass(frozen=True, slots=True)
class Base:
    """What the candidate is held against.

    Attributes:
        measurement: what it was measured to be.
        environment: the software that it ran with.
        revision: its code.
    """

    measurement: Measurement
    environment: Environment
    revision: Revision


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a bout.

    Attributes:
        measurement: of the candidate, with what its slots add.
        judgements: on each budget.
        course: how the contest went.
    """

    measurement: Measurement
    judgements: tuple[Judgement, ...]
    course: Course


def bout(  # noqa: PLR0913 - the two, what is asked, and by whom and with whom it is found out
    found: Measurement,
    base: Base,
    budgets: Sequence[Budget],
    referee: Referee,
    pairs: Sequence[Pair],
    *,
    fresh: Starter,
    earlier: Mapping[str, tuple[float, ...]] = NOTHING.effects,
) -> Result:
    """Judge a candidate.

    Args:
        found: what its opening load found.
        base: what the base's opening load found.
        budgets: what is asked.
        referee: leads the contest.
        pairs: whom slots are measured of; none if the load has no slots.
        fresh: starts pairs to confirm a FAIL with.
        earlier: log ratios of the pairs of earlier duels of the same code, by the text of the
            budget.

    Raises:
        DlperfError: if a side cannot be measured any more.
    """
    accepted = accept(base.measurement, base.environment, base.revision)
    if found.hung or found.scenario != base.measurement.scenario:
        return Result(found, judge_duel(found, accepted, budgets, {}), NOTHING)
    rates = referee.rates
    counted = accuracy_answers(found, base.measurement, budgets, rates)
    course = referee.contest(
        questions(budgets, base.measurement, rates) if pairs else (),
        doubts(counted, budgets, base.measurement),
        pairs,
        fresh,
        earlier,
    )
    found = with_slots(found, course)
    if found.serving != base.measurement.serving:
        note = f"the base was served by {base.measurement.serving}"
        found = dataclasses.replace(found, notes=(*found.notes, note))
    answers = {**counted, **course.answers}
    judgements = judge_duel(found, accepted, budgets, answers)
    return Result(with_judged(found, judgements), judgements, course)
