"""The controller's end of a worker: its messages.

A worker runs tests in its own process, and stops wherever one measures. The controller's messages
are `{"do": ...}`, the worker's are `{"is": ...}`:

run         test, next      runs a test; ends with `done`
enter                       prepares the target; answers `ready`
warm                        warms it up; answers `warm`
open                        measures it under its opening load; answers `opened`
slot        seconds, number measures a slot; answers `slot`, latencies in the tail
conclude    record          the test's call returns or raises by this record
abandon     reason          the test's call raises
end                         the session ends
leave                       the session ends as by Ctrl-C, also within a measurement

A worker that comes to a measurement sends `arrived` and waits; one that wants to measure by itself
sends `exclusive`, waits for `go`, and sends `over`. In between it sends notices (`report`,
`warning`, `collectreport`, `deselected`, `stop`), which are no answers; `teardown` is one of a
session that fails while it ends. One that was forked may send `unforkable` in place of an answer,
and waits to be killed.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pytest_dlperf.errors import DlperfError
from pytest_dlperf.measure.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_dlperf.duel.channel import Message
    from pytest_dlperf.duel.worker_process import WorkerProcess

Fields: TypeAlias = "Mapping[str, Any]"
Role: TypeAlias = Literal["base", "candidate"]
Step: TypeAlias = Literal["enter", "warm"]

_NOTICES: Final = frozenset(
    {"report", "warning", "collectreport", "deselected", "stop", "teardown"}
)
_STOPS: Final = frozenset({"arrived", "exclusive", "done"})
_SLOT: Final = "measuring a slot"
STEPS: Final = MappingProxyType[Step, tuple[str, str]](
    {"enter": ("ready", "preparing the target"), "warm": ("warm", "warming up")}
)
"""The steps until a side is warm, in their order: the answer to each, and what it does."""


class UnforkableError(DlperfError):
    """A worker is no longer what a new process would be, since it is a fork; says why."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Where a worker waits.

    Attributes:
        at: `arrived` at a measurement, `exclusive` to measure alone, or `done` with the test.
        name: of the measurement.
        modules: names and files of the modules that the worker has loaded, at its first stop.
    """

    at: Literal["arrived", "exclusive", "done"]
    name: str = ""
    modules: Mapping[str, str] | None = None


class WorkerHandle:
    """One worker, as the controller uses it. Each method may raise `WorkerLost`.

    Args:
        process: of the worker.
        role: its side.
        on_message: takes its notices.
        timeout: seconds within which it must answer.

    Attributes:
        role: its side.
        state: where it has stopped.
        watch: is called now and then while it is waited for; may raise.
        padding: its value of `servers.PADDING`, by which its daemons are known.
    """

    def __init__(
        self,
        process: WorkerProcess,
        role: Role,
        on_message: Callable[[Fields], None],
        timeout: float,
    ) -> None:
        self._process = process
        self._on_message = on_message
        self._timeout = timeout
        self.role = role
        self.state = WorkerState("done")
        self.watch: Callable[[], None] = lambda: None
        self.padding = ""

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def seconds_to_come(self) -> float:
        """How long it was waited for until now, slots left out."""
        waited = self._process.waited
        return sum(seconds for step, seconds in waited.items() if step != _SLOT)

    def limit(self, seconds: float) -> None:
        """Let it be lost if it does not do all that it is asked for within so long from now on."""
        self._process.limit(seconds)

    def begin(self, fields: Fields) -> None:
        """Send what its session is started with."""
        self._send(fields)

    def collected(self) -> Fields:
        """What it has collected."""
        return self._expect("collected", "collecting tests").fields

    def run(self, test: str, following: str | None) -> None:
        """Start a test, without waiting: `proceed` does."""
        self._send({"do": "run", "test": test, "next": following})

    def proceed(self) -> WorkerState:
        """Wait until it stops."""
        self.state = self._stopped(self._next_answer("running the test"), "running the test")
        return self.state

    def grant_exclusive(self) -> None:
        """Let it measure by itself, and go on to its next stop."""
        self._send({"do": "go"})
        self._expect("over", "measuring by itself")
        self.proceed()

    def enter(self) -> bool:
        """Have it prepare its target; false if that fails, and it has gone on without."""
        self.start("enter")
        return self.finish("enter")

    def start(self, step: Step) -> None:
        """Have it prepare its target or warm up, without waiting: `finish` does."""
        self._send({"do": step})

    def finish(self, step: Step) -> bool:
        """Wait until it has; false if that fails, and it has gone on without."""
        return self._answer(*STEPS[step]) is not None

    def open(self, *, whole: bool) -> Fields | None:
        """Have it measure its opening load; None if that fails, and it has gone on without."""
        answer = self._ask({"do": "open", "whole": whole}, "opened", "measuring")
        return None if answer is None else answer.fields

    def slot(self, seconds: float, number: int) -> Slot:
        """Have it measure a slot; a worker that leaves its measurement is lost."""
        self._send({"do": "slot", "seconds": seconds, "number": number})
        # Not by _ask: a notice is no prelude here, but the report of a test that has failed.
        answer = self._process.receive(self._timeout, _SLOT, self.watch)
        self._process.pause()
        if answer.fields["is"] != "slot":
            why = _crash(answer.fields)
            raise self._process.lost(f"left its measurement while a slot was measured{why}")
        return Slot.from_message(answer.fields, answer.tail)

    def keep_on(self, processors: frozenset[int]) -> None:
        """Run its process on these processors from now on."""
        self._process.keep_on(processors)

    def conclude(self, record: Fields) -> None:
        """Have the test's call return or raise by a record; and wait for the next stop."""
        self._send({"do": "conclude", "record": record})
        self.proceed()

    def abandon(self, reason: str) -> None:
        """Have the test's call raise; and wait for the next stop."""
        self._send({"do": "abandon", "reason": reason})
        self.proceed()

    def end(self) -> None:
        """Let the session end, and with it the process; without waiting: `ended` does."""
        self._send({"do": "end"})

    def ended(self) -> None:
        """Wait until the session has ended."""
        self._expect("ended", "ending its session")

    def interrupt(self) -> None:
        """Have the session end as by Ctrl-C, which tears down its fixtures; without waiting."""
        self._process.interrupt()

    def kill(self) -> None:
        """End the process, at once or soon after `interrupt`."""
        for message in self._process.kill():
            if message.fields["is"] == "teardown":
                self._on_message(message.fields)

    def _ask(self, request: Fields, expected: str, step: str) -> Message | None:
        self._send(request)
        return self._answer(expected, step)

    def _answer(self, expected: str, step: str) -> Message | None:
        """The answer; None if the worker stops elsewhere, which `state` then says."""
        answer = self._next_answer(step)
        if answer.fields["is"] == expected:
            # None of its threads may work while other workers are measured.
            self._process.pause()
            return answer
        self.state = self._stopped(answer, step)
        return None

    def _stopped(self, answer: Message, step: str) -> WorkerState:
        fields = answer.fields
        if fields["is"] not in _STOPS:
            raise self._process.lost(f"ended its session while {step}")
        return WorkerState(fields["is"], fields.get("name", ""), fields.get("modules"))

    def _send(self, fields: Fields) -> None:
        self._process.resume()  # first, since a stopped process reads nothing
        self._process.send(fields)

    def _expect(self, expected: str, step: str) -> Message:
        answer = self._next_answer(step)
        if answer.fields["is"] != expected:
            said = answer.fields
            what = f"said {said['is']!r}" if said["is"] != "ended" else "ended its session"
            raise self._process.lost(f"{what} while {step}")
        return answer

    def _next_answer(self, step: str) -> Message:
        while True:
            message = self._process.receive(self._timeout, step, self.watch)
            if message.fields["is"] == "unforkable":
                raise UnforkableError(message.fields["why"])
            if message.fields["is"] not in _NOTICES:
                return message
            self._on_message(message.fields)


def _crash(fields: Fields) -> str:
    longrepr = fields.get("data", {}).get("longrepr")
    crash = longrepr.get("reprcrash") if isinstance(longrepr, dict) else None
    return f": {crash['message'].splitlines()[0]}" if crash and crash["message"] else ""
