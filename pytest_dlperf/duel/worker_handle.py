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

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pytest_dlperf._processes import ending, exit_code, last_lines
from pytest_dlperf.duel.channel import VARIABLE, Channel, Message
from pytest_dlperf.duel.cleanup_process import signal_group
from pytest_dlperf.errors import DlperfError
from pytest_dlperf.measure.slots import Slot
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_dlperf.duel.cleanup_process import CleanupProcess


Fields: TypeAlias = "Mapping[str, Any]"
Role: TypeAlias = Literal["base", "candidate"]

_TALK: Final = frozenset({"report", "warning", "collectreport", "deselected"})


_DEATH_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0
_SEND_SECONDS: Final = 60.0
_SHOWN_LINES: Final = 20


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Where a side waits.

    Attributes:
        at: `arrived` at a measurement, `floor` to measure by itself, or `done` with the test.
        name: of the measurement.
        modules: names and files of the modules that the side has loaded, where it was asked.
    """

    at: Literal["arrived", "floor", "done"]
    name: str = ""
    modules: Mapping[str, str] | None = None


class WorkerHandle:
    """One side, as whoever leads the duel sees it.

    Args:
        process: it.
        role: which side it is.
        heard: takes what it says that is no answer.
        patience: seconds for which it may say nothing.
    """

    def __init__(
        self,
        process: WorkerProcess,
        role: Role,
        heard: Callable[[Fields], None],
        patience: float,
    ) -> None:
        self._process = process
        self._heard = heard
        self._patience = patience
        self.role = role
        self.stop = WorkerState("done")

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

    def proceed(self) -> WorkerState:
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


def _stop(fields: Fields) -> WorkerState:
    return WorkerState(fields["is"], fields.get("name", ""), fields.get("modules"))


def _crash(fields: Fields) -> str:
    """The first line of the error that a report tells of; empty if it tells of none."""
    longrepr = fields.get("data", {}).get("longrepr")
    crash = longrepr.get("reprcrash") if isinstance(longrepr, dict) else None
    return f": {crash['message'].splitlines()[0]}" if crash and crash["message"] else ""


class WorkerLost(DlperfError):  # noqa: N818 - what has happened, as in the report
    """A side of a duel died, closed its end, or said nothing for too long.

    Attributes:
        problem: which side, in which step, and what became of it.
        output: the last lines that it wrote; may be empty.
    """

    def __init__(self, problem: str, output: str) -> None:
        self.problem = problem
        self.output = output
        said = "".join(f"\n    {line}" for line in output.splitlines())
        super().__init__(f"{problem}; it last wrote:{said}" if said else problem)


class WorkerProcess:
    """A process that measures one side of a duel when it is told to.

    It calls `handover.connect` first of all. It has a session of its own, an empty standard
    input, and writes to a file without a name. It must be started by a thread that lives as long
    as the duel, such as the main one: the kernel ends it with that thread.

    Args:
        name: for people: `base` or `candidate`.
        command: the program and its arguments.
        folder: the working directory.
        environment: all of it.
        keeper: ends it at the latest.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        keeper: CleanupProcess,
    ) -> None:
        self.name = name
        self._keeper = keeper
        self._killed = False
        with contextlib.ExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile())
            ours, theirs = socket.socketpair()
            self._channel = stack.enter_context(contextlib.closing(Channel(ours)))
            with theirs:
                # Should this process be killed before the keeper knows of the side, the side ends
                # itself: until that line it is never stopped, and so can see this end closed.
                self._process = subprocess.Popen(  # noqa: S603 - what the caller asked for
                    command,
                    bufsize=0,
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env={**environment, VARIABLE: f"{theirs.fileno()}:{os.getpid()}"},
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # Ctrl-C is for this process, which then ends it
                )
            keeper.group(self._process.pid)
            self._resources = stack.pop_all()

    @property
    def pid(self) -> int:
        """Of the process, which is also its group's number."""
        return self._process.pid

    def send(self, fields: Mapping[str, object], tail: bytes = b"") -> None:
        """Tell it something.

        Raises:
            SideLost: if it is dead, or takes no message.
        """
        try:
            self._channel.send(Message(fields, tail), _SEND_SECONDS)
        except TimeoutError:
            raise self.lost(f"takes no message within {_SEND_SECONDS:g} s") from None
        except OSError:
            raise self.lost(self.ended()) from None

    def receive(self, seconds: float, step: str) -> Message:
        """Wait for what it says.

        Args:
            seconds: how long.
            step: what it is doing meanwhile, for people: `while STEP`.

        Raises:
            SideLost: if it is dead, or says nothing for so long.
        """
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                return self._channel.receive(min(left, _LOOK_SECONDS))
            except TimeoutError:
                if left > _LOOK_SECONDS and exit_code(self.pid, 0) is None:
                    continue
                if exit_code(self.pid, 0) is not None:  # and a fork of it holds its end open
                    raise self.lost(f"{self.ended()}, while {step}") from None
                limit = format_quantity(seconds, "s")
                raise self.lost(f"has said nothing for {limit} while {step}") from None
            except OSError:
                raise self.lost(f"{self.ended()}, while {step}") from None

    def pause(self) -> None:
        """Stop all its threads, and what it started in its group, until it is resumed."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def last_output(self) -> str:
        """The last lines that it wrote, on either stream."""
        return "" if self._killed else "\n".join(last_lines(self._log.fileno(), _SHOWN_LINES))

    def ended(self) -> str:
        """How it ended, in words. To be asked when it is known to have ended, or hung up."""
        if self._killed:
            return "was closed"
        code = exit_code(self.pid, _DEATH_SECONDS)
        return "closed its end of the channel" if code is None else ending(code)

    def kill(self) -> None:
        """End it, and what it started in its group. The second time there is nothing to do."""
        self._killed = True
        self._keeper.end(self._process)
        self._resources.close()

    def _signal(self, which: signal.Signals) -> None:
        # Until it is buried, by kill(), its number is nobody else's.
        if not self._killed:
            signal_group(self.pid, which)

    def lost(self, what: str) -> WorkerLost:
        """What to raise when it cannot go on: `what` became of it, and its last output."""
        return WorkerLost(f"the {self.name} side {what}", self.last_output())
