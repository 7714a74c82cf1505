"""Side process: one of the two sides of a duel, as its referee holds it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.channel import VARIABLE, Channel, Message
from pytest_dlperf.duel.cleanup_process import signal_group
from pytest_dlperf.endings import ending, exit_code, last_lines
from pytest_dlperf.errors import DlperfError
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_dlperf.duel.cleanup_process import Keeper

_DEATH_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0
_SEND_SECONDS: Final = 60.0
_SHOWN_LINES: Final = 20


class SideLost(DlperfError):  # noqa: N818 - what has happened, as in the report
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


class SideProcess:
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
        keeper: Keeper,
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

    def lost(self, what: str) -> SideLost:
        """What to raise when it cannot go on: `what` became of it, and its last output."""
        return SideLost(f"the {self.name} side {what}", self.last_output())
