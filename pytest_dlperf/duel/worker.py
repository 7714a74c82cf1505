"""Corner: where one side of a duel waits, measures when it is told to, and learns the verdict."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.duel.channel import Message
from pytest_dlperf.duel.module_identity import loaded_modules
from pytest_dlperf.duel.questions import duel_budgets, needs_whole_load, opening_seconds
from pytest_dlperf.duel.slot_length import shortest_slot
from pytest_dlperf.errors import DuelError, UsageError
from pytest_dlperf.measure.evaluator import Evaluation
from pytest_dlperf.results.record import Record, record_from_json, record_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.duel.channel import Channel
    from pytest_dlperf.measure.evaluator import Measurable
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.measurement import Measurement

_FOREVER: Final = 86_400.0


class Link:
    """The line to whoever leads the duel.

    Args:
        channel: messages; for one thread.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def tell(self, fields: Mapping[str, object], tail: bytes = b"") -> None:
        """Say something; waits as long as the other end is busy."""
        self._channel.send(Message(fields, tail), _FOREVER)

    def hear(self) -> Mapping[str, Any]:
        """Wait for what is to be done."""
        return self._channel.receive(None).fields


class WorkerEvaluator:
    """An arena of one side.

    Args:
        link: to whoever leads the duel.
        environment: asks for the software of this process.
    """

    def __init__(self, link: Link, environment: Callable[[], Environment]) -> None:
        self._link = link
        self._environment = environment
        self._showed_modules = False

    def evaluate(
        self, subject: AbstractContextManager[Measurable], plan: Plan, test: str, name: str
    ) -> Evaluation:
        """Measure when told to, until it is concluded.

        Raises:
            DuelError: if the duel over this measurement is off.
            DlperfError: if it cannot be measured.
        """
        __tracebackhide__ = True
        self._arrive("arrived", name)
        command = self._link.hear()
        if command["do"] != "enter":
            return _concluded(command)
        with contextlib.ExitStack() as stack:
            ready = stack.enter_context(subject)
            self._link.tell({"is": "ready"})
            runner = ready.slots()
            if runner is not None:
                stack.enter_context(contextlib.closing(runner))
            while True:
                command = self._link.hear()
                match command["do"]:
                    case "warm":
                        ready.warm_up()
                        self._link.tell({"is": "warm"})
                    case "open":
                        found = _opened(ready, plan, (test, name), whole=command["whole"])
                        self._link.tell(self._opening(found, plan, slotted=runner is not None))
                    case "slot" if runner is not None:
                        slot = runner.slot(command["seconds"], command["number"])
                        numbers, latencies = slot.to_message()
                        self._link.tell({"is": "slot", **numbers}, latencies)
                    case _:
                        return _concluded(command)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else measures inside."""
        self._arrive("floor", "")
        command = self._link.hear()
        if command["do"] != "go":
            _concluded(command)
        try:
            yield
        finally:
            self._link.tell({"is": "over"})

    def accept(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Nothing is accepted in a duel."""
        raise UsageError(f"{test} {name}: a duel writes no baselines: {accepted.revision}")

    def _arrive(self, where: str, name: str) -> None:
        modules = None if self._showed_modules else loaded_modules()
        self._showed_modules = True
        self._link.tell({"is": where, "name": name, "modules": modules})

    def _opening(self, found: Measurement, plan: Plan, *, slotted: bool) -> dict[str, object]:
        return {
            "is": "opened",
            "record": record_to_json(Record(found, (), (), quick=False)),
            "budgets": [budget.text for budget in duel_budgets(plan, found)],
            "detect": [[one.metric, one.loss] for one in plan.detect],
            "budget_time": plan.budget_time,
            "slotted": slotted,
            "open_loop": plan.open_loop,
            "shortest": shortest_slot(plan, found),
            "environment": self._environment().to_json(),
        }


def _opened(subject: Measurable, plan: Plan, about: tuple[str, str], *, whole: bool) -> Measurement:
    """The load before the slots: brief, unless budgets or rows need more of it."""
    brief = opening_seconds(plan)
    if whole and needs_whole_load(plan):
        return subject.measure(*about, plan.load_seconds)
    found = subject.measure(*about, brief)
    complete = found.rows is None or bool(found.rows.answered.all())
    complete = complete and (found.scores is None or found.scores.complete)
    if not complete and brief < plan.load_seconds:
        return subject.measure(*about, plan.load_seconds)
    return found


def _concluded(command: Mapping[str, Any]) -> Evaluation:
    __tracebackhide__ = True
    if command["do"] == "abandon":
        raise DuelError(command["reason"])
    return Evaluation(record_from_json(command["record"]), None)
