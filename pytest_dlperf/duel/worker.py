"""One side of a duel, in its own process: measures when the controller asks for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_dlperf.duel.module_identity import loaded_modules
from pytest_dlperf.duel.opening import Opening, measure_again, measure_opening
from pytest_dlperf.errors import DuelError, UsageError
from pytest_dlperf.measure.evaluator import Evaluation
from pytest_dlperf.results.record import record_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.duel.channel import Channel
    from pytest_dlperf.duel.worker_handle import Fields
    from pytest_dlperf.measure.evaluator import Measurable
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.environment import Environment


class WorkerEvaluator:
    """The evaluator of a worker: the controller decides what is measured, and judges it.

    Args:
        channel: `worker_handle` lists the messages.
        environment: looks up the software of this process.
        waiting: entered while the controller decides what happens.
    """

    def __init__(
        self,
        channel: Channel,
        environment: Callable[[], Environment],
        waiting: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._channel = channel
        self._environment = environment
        self._waiting = waiting
        self._concluded: dict[tuple[str, str], Fields] = {}
        self._has_sent_modules = False

    def evaluate(
        self, subject: AbstractContextManager[Measurable], plan: Plan, test: str, name: str
    ) -> Evaluation:
        """Do what the controller asks for, until it concludes the measurement.

        A test that is run again, as by pytest-rerunfailures, gets the conclusion that it had: its
        evidence has been confirmed already, and the other side has gone on.

        Raises:
            DuelError: if the controller abandons this measurement.
            DlperfError: if the target cannot be measured.
        """
        __tracebackhide__ = True
        key = test, name
        if key not in self._concluded:
            with self._waiting():
                self._concluded[key] = self._conclusion(subject, plan, test, name)
        return _evaluation(self._concluded[key])

    def _conclusion(
        self, subject: AbstractContextManager[Measurable], plan: Plan, test: str, name: str
    ) -> Fields:
        __tracebackhide__ = True
        self._send_arrival("arrived", name)
        command = self._channel.receive().fields
        if command["do"] != "enter":
            return command
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(subject)
            self._channel.send({"is": "ready"})
            runner = target.slots()
            if runner is not None:
                stack.enter_context(contextlib.closing(runner))
            while True:
                command = self._channel.receive().fields
                match command["do"]:
                    case "warm":
                        (target if runner is None else runner).warm_up()
                        self._channel.send({"is": "warm"})
                    case "open":
                        measurement = measure_opening(
                            target, plan, test, name, whole=command["whole"]
                        )
                        environment, second = self._environment(), None
                        if command["whole"]:
                            second = measure_again(target, plan, measurement, environment)
                        slotted = runner is not None
                        opening = Opening.of(
                            measurement, plan, environment, slotted=slotted, second=second
                        )
                        # Again, since a target may import the project's code in its first calls.
                        modules = loaded_modules()
                        self._channel.send(
                            {"is": "opened", "modules": modules, **opening.to_json()}
                        )
                    case "slot" if runner is not None:
                        slot = runner.slot(command["seconds"], command["number"])
                        numbers, latencies = slot.to_message()
                        self._channel.send({"is": "slot", **numbers}, latencies)
                    case _:
                        return command

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until no other worker measures, and keep it so inside."""
        with self._waiting():
            self._send_arrival("exclusive", "")
            command = self._channel.receive().fields
        if command["do"] != "go":
            _evaluation(command)
        try:
            yield
        finally:
            self._channel.send({"is": "over"})

    def accept(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Refused: a duel writes no baselines."""
        raise UsageError(f"{test} {name}: a duel writes no baselines: {accepted.revision}")

    def _send_arrival(self, where: str, name: str) -> None:
        # The modules once only: at the first measurement most of the project has been imported.
        modules = None if self._has_sent_modules else loaded_modules()
        self._has_sent_modules = True
        self._channel.send({"is": where, "name": name, "modules": modules})


def _evaluation(command: Fields) -> Evaluation:
    __tracebackhide__ = True
    if command["do"] == "leave":
        raise KeyboardInterrupt
    if command["do"] == "abandon":
        raise DuelError(command["reason"])
    return Evaluation(record_from_json(command["record"]), None)
