"""Tuning plan: the arguments of `@pytest.mark.dlperf_sweep(...)`, parsed and checked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast, get_args

from pytest_dlperf._values import check_choice
from pytest_dlperf.config.options import TUNES
from pytest_dlperf.errors import UsageError
from pytest_dlperf.metrics import LOAD_METRICS, measured_by
from pytest_dlperf.tuning.catalogue import chosen
from pytest_dlperf.tuning.configuration import Knob
from pytest_dlperf.tuning.goal import Goal, parse_goal
from pytest_dlperf.tuning.search import SearchName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TRAINING_METRICS: Final = frozenset({"train.time", "train.throughput"})
"""Metrics of training that a study measures."""

_ARGUMENTS: Final = ("knobs", "search", "trials", "finalists", "seed")
_SEARCH: Final[SearchName] = "bayesian"
_FEWEST: Final = 2


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """The settings of a study.

    Attributes:
        goal: objective and constraints.
        knobs: None tries the usual ones that suit.
        search: how configurations are chosen.
        trials: number of configurations, the setup without tuning included.
        finalists: how many of them the judge compares with it at most.
        seed: of the search, of weights and of the order of rows.
        seconds: duration of the load on each configuration before the comparison.
    """

    goal: Goal
    knobs: tuple[Knob, ...] | None = None
    search: SearchName = _SEARCH
    trials: int = 20
    finalists: int = 3
    seed: int = 0
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Overrides:
    """Options of the command line for all studies of a run; None keeps the test's.

    Attributes:
        search: how configurations are chosen.
        trials: number of configurations.
        seed: of the search and of training.
        knobs: names, or texts such as `units=512,64`; they replace the test's knobs of the same
            names, or are added to them.
        fresh: whether to ignore the trials of earlier runs.
    """

    search: SearchName | None = None
    trials: int | None = None
    seed: int | None = None
    knobs: tuple[str, ...] = ()
    fresh: bool = False

    def on(self, plan: TuningPlan, known: Mapping[str, Knob]) -> TuningPlan:
        """A test's plan with these overrides; a UsageError for a knob that is not `known`."""
        names = [n for n in ("search", "trials", "seed") if getattr(self, n) is not None]
        changes = {name: getattr(self, name) for name in names}
        if self.knobs:
            own = {knob.name: knob for knob in plan.knobs or ()}
            given = {knob.name: knob for knob in chosen(self.knobs, {**known, **own})}
            changes["knobs"] = tuple({**own, **given}.values())
        return dataclasses.replace(plan, **changes)


def tuning_plan(
    args: Iterable[object], kwargs: Mapping[str, object], known: Mapping[str, Knob]
) -> TuningPlan:
    """Parse an objective, budgets and options: the arguments of one `dlperf_sweep` marker.

    Raises:
        BudgetSyntaxError: for an objective or a budget that cannot be read.
        UsageError: for an unknown argument or a value that is not allowed.
    """
    unknown = sorted(set(kwargs) - set(_ARGUMENTS))
    if unknown:
        raise UsageError(
            f"the {TUNES} marker takes no argument {unknown[0]!r}",
            f"it takes an objective, budgets and {', '.join(_ARGUMENTS)}; scenario=, serving= and "
            "duration= belong to the dlperf marker of the same test",
        )
    goal = parse_goal(args)  # type: ignore[arg-type]  # checked there
    check_measured(goal)
    search = kwargs.get("search", _SEARCH)
    check_choice(search, get_args(SearchName), "search")
    given = {
        name: check_whole(kwargs[name], f"{name}=", least)
        for name, least in (("trials", _FEWEST), ("finalists", 1), ("seed", 0))
        if name in kwargs
    }
    return TuningPlan(
        goal,
        knobs=checked_knobs(kwargs.get("knobs"), known),
        search=cast("SearchName", search),
        **given,
    )


def check_measured(goal: Goal) -> None:
    """Raise a UsageError that names the first metric of a goal that a study does not measure."""
    for metric in (goal.objective, *(budget.metric for budget in goal.constraints)):
        if metric.name not in TRAINING_METRICS and not measured_by(LOAD_METRICS, metric):
            raise UsageError(
                f"tuning does not measure {metric.name}",
                f"it measures what a load does, {' and '.join(sorted(TRAINING_METRICS))}",
            )


def checked_knobs(knobs: object, known: Mapping[str, Knob]) -> tuple[Knob, ...] | None:
    """The knobs of a marker or a call: knobs, names, or texts such as `units=512,64`; None if none.

    Raises:
        UsageError: for anything else, a name that is not `known`, or two of one name.
    """
    if knobs is None:
        return None
    if not isinstance(knobs, tuple | list | str | Knob):
        example = "such as ('units', knobs.runtime())"
        raise UsageError(f"knobs={knobs!r:.80}", f"expected several, {example}")
    return chosen((knobs,) if isinstance(knobs, str | Knob) else knobs, known)


def check_whole(value: object, label: str, least: int) -> int:
    """An integer of at least `least`; a UsageError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise UsageError(f"{label}{value!r:.80}", f"expected a whole number, {least} or more")
