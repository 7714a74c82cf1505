"""Remote side: a side that runs tests in its own process, and stops wherever one measures.

What the referee tells a side is `{"do": ...}`, what it answers `{"is": ...}`:

run         test, next      runs a test; ends with `done`
enter                       prepares what is measured; answers `ready`
warm                        warms it up; answers `warm`
open                        measures it under its whole load; answers `opened`
slot        seconds, number measures a slot; answers `slot`, latencies in the tail
conclude    record          the call returns or raises by this record
abandon     reason          the call raises
end                         the session ends

A side that comes to a measurement says `arrived` and waits; one that wants to measure by itself
says `floor`, waits for `go`, and says `over`. Between all that it says `report` and `warning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pytest_dlperf.measure.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_dlperf.duel.channel import Message
    from pytest_dlperf.duel.side_process import SideProcess

Fields: TypeAlias = "Mapping[str, Any]"
Role: TypeAlias = Literal["base", "candidate"]

_TALK: Final = frozenset({"report", "warning", "collectreport", "deselected"})


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a side waits.

    Attributes:
        at: `arrived` at a measurement, `floor` to measure by itself, or `done` with the test.
        name: of the measurement.
        modules: names and files of the modules that the side has loaded, where it was asked.
    """

    at: Literal["arrived", "floor", "done"]
    name: str = ""
    modules: Mapping[str, str] | None = None


class RemoteSide:
    """One side, as whoever leads the duel sees it.

    Args:
        process: it.
        role: which side it is.
        heard: takes what it says that is no answer.
        patience: seconds for which it may say nothing.
    """

    def __init__(
        self,
        process: SideProcess,
        role: Role,
        heard: Callable[[Fields], None],
        patience: float,
    ) -> None:
        self._process = process
        self._heard = heard
        self._patience = patience
        self.role = role
        self.stop = Stop("done")

    def begin(self, fields: Fields) -> None:
        """Say what it is to collect."""
        self._tell(fields)

    def collected(self) -> Fields:
        """What it has collected.

        Raises:
            SideLost: if it is lost before.
        """
        return self._answer("collected", "collecting tests").fields

    def run(self, test: str, following: str | None) -> None:
        """Let it run a test; `proceed` tells how far it gets."""
        self._tell({"do": "run", "test": test, "next": following})

    def proceed(self) -> Stop:
        """Wait until it stops.

        Raises:
            SideLost: if it is lost before.
        """
        answer = self._next("running the test")
        self.stop = _stop(answer.fields)
        return self.stop

    def grant_floor(self) -> None:
        """Let it measure by itself, and go on to its next stop."""
        self._tell({"do": "go"})
        self._answer("over", "measuring by itself")
        self.proceed()

    def enter(self) -> bool:
        """Let it prepare what is measured; false if that fails, and it went on without.

        Raises:
            SideLost: if it is lost.
        """
        return self._ask({"do": "enter"}, "ready", "preparing the target") is not None

    def warm(self) -> bool:
        """Let it warm up; false if that fails, and it went on without."""
        return self._ask({"do": "warm"}, "warm", "warming up") is not None

    def open(self, *, whole: bool) -> Fields | None:
        """Let it measure under its load; None if that fails, and it went on without.

        Args:
            whole: for all of the duration, because budgets are judged by this load alone.
        """
        answer = self._ask({"do": "open", "whole": whole}, "opened", "measuring")
        return None if answer is None else answer.fields

    def slot(self, seconds: float, number: int) -> Slot:
        """Measure a slot.

        Raises:
            SideLost: if the side is lost, or its target fails for good.
        """
        self._tell({"do": "slot", "seconds": seconds, "number": number})
        answer = self._process.receive(self._patience, "measuring a slot")
        self._process.pause()
        fields: Fields = answer.fields
        if fields["is"] != "slot":
            why = _crash(fields)
            raise self._process.lost(f"left its measurement while a slot was measured{why}")
        return Slot.from_message(fields, answer.tail)

    def conclude(self, record: Fields) -> None:
        """Let the call return, or raise, by a record; and go on to the next stop."""
        self._tell({"do": "conclude", "record": record})
        self.proceed()

    def abandon(self, reason: str) -> None:
        """Let the call raise; and go on to the next stop."""
        self._tell({"do": "abandon", "reason": reason})
        self.proceed()

    def end(self) -> None:
        """Let the session end, and the process."""
        self._tell({"do": "end"})
        self._answer("ended", "ending its session")

    def kill(self) -> None:
        """End the process."""
        self._process.kill()

    def _ask(self, question: Fields, expected: str, step: str) -> Message | None:
        """The answer; None if the side stops elsewhere instead, which is noted."""
        self._tell(question)
        answer = self._next(step)
        if answer.fields["is"] == expected:
            # Whatever threads it has must not work while the others are measured.
            self._process.pause()
            return answer
        self.stop = _stop(answer.fields)
        return None

    def _tell(self, fields: Fields) -> None:
        self._process.resume()
        self._process.send(fields)

    def _answer(self, expected: str, step: str) -> Message:
        answer = self._next(step)
        if answer.fields["is"] != expected:
            raise self._process.lost(f"said {answer.fields['is']!r} while {step}")
        return answer

    def _next(self, step: str) -> Message:
        """The next thing that it says which is no talk."""
        while True:
            message = self._process.receive(self._patience, step)
            if message.fields["is"] not in _TALK:
                return message
            self._heard(message.fields)


def _stop(fields: Fields) -> Stop:
    return Stop(fields["is"], fields.get("name", ""), fields.get("modules"))


def _crash(fields: Fields) -> str:
    """The first line of the error that a report tells of; empty if it tells of none."""
    longrepr = fields.get("data", {}).get("longrepr")
    crash = longrepr.get("reprcrash") if isinstance(longrepr, dict) else None
    return f": {crash['message'].splitlines()[0]}" if crash and crash["message"] else ""
