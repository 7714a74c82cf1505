"""A study of fake models, which take a known time and give known answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from fakes import FakeClock, TimedTarget

from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import TrainingError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.tuning.configuration import Knob, Setup
from pytest_dlperf.tuning.goal import parse_goal
from pytest_dlperf.tuning.pipeline import ServableModel
from pytest_dlperf.tuning.screening import Study

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUTS = np.random.default_rng(0).random((600, 4))
LABELS = INPUTS.argmax(axis=1)
MILLISECOND = 1_000_000


def argument(name: str, *values: object) -> Knob:
    """A knob of an argument of the build function."""

    def apply(setup: Setup, value: object) -> Setup:
        return replace(setup, arguments={**setup.arguments, name: value})

    return Knob(name, values, "model", apply)


def batch(*values: int) -> Knob:
    """A knob that differs in serving only."""

    def apply(setup: Setup, value: object) -> Setup:
        assert isinstance(value, int)
        return replace(setup, serving=Serving(max_batch_size=value))

    return Knob("batch", values, "serving", apply)


def answering(wrong: int) -> Any:  # noqa: ANN401 - a function of arrays
    """Wrong for so many of each 200 rows, the first ones, which it knows by their content."""
    bad = INPUTS[: wrong * len(INPUTS) // 200]

    def answer(rows: NDArray[Any]) -> NDArray[Any]:
        known = (rows[:, None, :] == bad[None]).all(axis=2).any(axis=1)
        return np.where(known[:, None], -rows, rows)

    return answer


@dataclass
class Workshop:
    """Makes targets of setups.

    `work` is the milliseconds of a call, `wrong` the rows missed of 200; `broken="yes"` diverges.
    """

    clock: FakeClock
    made: list[str] = field(default_factory=list)

    def __call__(self, setup: Setup) -> ServableModel:
        """Record the request, and build."""
        self.made.append(setup.trained)
        arguments = dict(setup.arguments)
        if arguments.get("broken") == "yes":
            raise TrainingError("the loss is nan in epoch 1 of 5", "Adam, learning rate 10")
        noise = np.random.default_rng(7)

        def service_ns(rows: int) -> int:
            del rows
            work = float(arguments.get("work", 1.0))  # type: ignore[arg-type]  # as knobs give it
            return int(work * MILLISECOND * np.exp(0.01 * noise.standard_normal()))

        target = TimedTarget(self.clock, service_ns, answering(int(arguments.get("wrong", 0))))  # type: ignore[call-overload]  # as knobs give it
        known = {"train.time": counted(1.0), "model_size": counted(1000.0)}
        return ServableModel(target, as_data((INPUTS, LABELS)), MappingProxyType(known), fresh=True)


def study(*knobs: Knob, goal: tuple[str, ...] = ("maximize throughput",)) -> Study:
    """A study of these knobs, of a closed loop of eight clients."""
    settled = plan(
        [Options(scenario=ClosedLoop(8), serving=Serving(8), duration=0.4, budget_time=8.0)]
    )
    base = Setup(serving=Serving(8))
    return Study("test", "", parse_goal(goal), knobs, base, settled, seconds=0.2)
