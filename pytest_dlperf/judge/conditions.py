"""Day: what is known of the machine on the day of a session that is held against earlier ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from pytest_dlperf.load.scenarios import OpenLoop
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.usage import noise_note
from pytest_dlperf.statistics.prediction import Session, reference_change

if TYPE_CHECKING:
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.measurement import Measurement

# Not the compile time, which is one thread of Python most of the time; nor the times of training:
# the yardstick answers single batches, and how its pace and that of gradients, input pipelines and
# all threads go together is not known. A machine that is unlike or unquiet leaves them open too.
_SCALED: Final = frozenset(
    name
    for name, metric in METRICS.items()
    if metric.is_speed and not metric.of_training and name != "compile_time"
)
_SCALED_IN_OPEN_LOOP: Final = _SCALED - {"throughput", "goodput"}
_OPEN_LOOPS: Final = frozenset(one.__name__ for one in get_args(OpenLoop))

ALIKE: Final = (0.8, 1.25)
"""The yardstick of one and the same machine stays within these multiples of what it was."""

_WORTH_SAYING: Final = 0.02


@dataclass(frozen=True, slots=True)
class MachineConditions:
    """What the machine was like while a session measured, and how often it may be misjudged.

    Attributes:
        yardstick: seconds a request of the reference model; None if it was not measured.
        scaled: metrics that the machine's speed changes as it changes the yardstick's.
        unquiet: what else the machine did, if that was too much for speeds to be judged.
        unlike: how the machine's speed differs from what it was, if by too much for that.
        note: how the machine's speed differs, if that was allowed for.
        alpha: of sessions on unchanged code, the share that may have a FAIL, a budget.
        beta: of losses that a budget must find, the share that may pass.
    """

    yardstick: float | None = None
    scaled: frozenset[str] = frozenset()
    unquiet: str = ""
    unlike: str = ""
    note: str = ""
    alpha: float = 0.025
    beta: float = 0.05


UNKNOWN_CONDITIONS: Final = MachineConditions()
"""A day of which nothing is known."""


def scaled_metrics(plan: Plan) -> frozenset[str]:
    """The metrics that a slower machine makes worse by as much as it slows the yardstick.

    Where requests come by themselves, their rate is not the machine's.
    """
    return _SCALED_IN_OPEN_LOOP if plan.open_loop else _SCALED


def scaled_metrics_of(scenario: str) -> frozenset[str]:
    """The same for what was measured with a scenario, given as the text of it that is stored."""
    open_loop = scenario.partition("(")[0] in _OPEN_LOOPS
    return _SCALED_IN_OPEN_LOOP if open_loop else _SCALED


def needs_yardstick(plan: Plan) -> bool:
    """Whether the machine's speed makes a difference to what a plan judges.

    It allows for speeds of a load, and tells whether those of a training can be compared at all.
    """
    scaled = scaled_metrics(plan)
    return any(
        budget.relative
        and (budget.metric.name in scaled or (budget.metric.of_training and budget.metric.is_speed))
        for budget in plan.judged
    )


def conditions_of(  # noqa: PLR0913 - what is known, and how often one may err
    plan: Plan,
    found: Measurement,
    accepted: BaselineEntry | None,
    yardstick: float | None,
    *,
    alpha: float,
    beta: float,
) -> MachineConditions:
    """What there is to know of the machine.

    Refused are, as in the project's research (2.2), a yardstick outside of 0.8 to 1.25 of that of
    the accepted sessions, and a machine of which the host took 5 % or others 20 %.

    Args:
        plan: what was asked.
        found: what was measured.
        accepted: what it is held against, if there is anything.
        yardstick: seconds a request of the reference model, if it was measured.
        alpha: error rate of a FAIL.
        beta: error rate of a PASS.
    """
    change = _change(accepted, yardstick)
    times = f"{change:.2f} times as long as in the baseline's sessions" if change else ""
    least, most = ALIKE
    alike = change is None or least <= change <= most
    unquiet = noise_note(found.usage) if found.usage else ""
    worth_saying = change is not None and abs(change - 1) >= _WORTH_SAYING
    allowed_for = f"the reference model took {times}, which was allowed for"
    return MachineConditions(
        yardstick=yardstick,
        scaled=scaled_metrics(plan),
        unquiet=unquiet,
        unlike="" if alike else f"the machine is not what it was: the reference model took {times}",
        note=allowed_for if alike and worth_saying and not unquiet else "",
        alpha=alpha,
        beta=beta,
    )


def _change(accepted: BaselineEntry | None, yardstick: float | None) -> float | None:
    if accepted is None or yardstick is None:
        return None
    history = [_reference(session.yardstick) for session in accepted.sessions]
    return reference_change(history, _reference(yardstick))


def _reference(yardstick: float | None) -> Session:
    return Session(0.0, 0.0, None if yardstick is None else math.log(yardstick))
