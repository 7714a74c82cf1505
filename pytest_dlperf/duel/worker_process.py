"""The process of a worker: started, sent messages, paused and ended."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_dlperf._processes import ending, exit_code, keep_on, last_lines
from pytest_dlperf.duel.channel import VARIABLE, Channel, Message
from pytest_dlperf.duel.cleanup_process import signal_group
from pytest_dlperf.errors import DlperfError
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_dlperf.duel.cleanup_process import ChildProcess, CleanupProcess

Launch: TypeAlias = "Callable[[int, int], ChildProcess]"
"""Starts a worker with the descriptors of its channel and its log."""

_DEATH_SECONDS: Final = 10.0
_INTERRUPT_SECONDS: Final = 10.0
_FIRST_LOOK_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 1.0
_SHORTEST_SECONDS: Final = 0.01
_SEND_SECONDS: Final = 60.0
_REST_SECONDS: Final = 0.01
_SHOWN_LINES: Final = 20


class WorkerLost(DlperfError):  # noqa: N818 - what has happened, as in the report
    """A worker died, closed its end of the channel, or sent nothing for too long.

    Attributes:
        problem: which side, in which step, and how it ended.
        output: the last lines that it wrote.
        role: its side.
    """

    def __init__(self, problem: str, output: str, role: str = "") -> None:
        self.role = role
        self.problem = problem
        self.output = output
        lines = "".join(f"\n    {line}" for line in output.splitlines())
        super().__init__(f"{problem}; it last wrote:{lines}" if lines else problem)


class WorkerSilent(WorkerLost):
    """A worker that lives, and has sent nothing for too long."""


def spawn(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Launch:
    """Starts a worker as a new program.

    Args:
        command: the program and its arguments.
        folder: the working directory.
        environment: all variables.
    """

    def launch(channel: int, log: int) -> ChildProcess:
        return subprocess.Popen(  # noqa: S603 - what the caller asked for
            command,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**environment, VARIABLE: f"{channel}:{os.getpid()}"},
            pass_fds=(channel,),
            start_new_session=True,  # Ctrl-C is for this process, which then ends it
        )

    return launch


class WorkerProcess:
    """The process of a worker, which must call `channel.connect` first of all.

    It has a session of its own, an empty standard input, and writes to an unnamed file. It must be
    started by a thread that lives as long as the duel: the kernel ends it with that thread.

    Args:
        name: `base` or `candidate`, for messages.
        launch: starts it.
        cleanup: ends it at the latest.
    """

    def __init__(self, name: str, launch: Launch, cleanup: CleanupProcess) -> None:
        self.name = name
        self._cleanup = cleanup
        self._killed = False
        self._lost = False
        self._paused = False
        self._interrupted: float | None = None
        self._limited = 0.0
        self._deadline = math.inf
        self.waited: defaultdict[str, float] = defaultdict(float)
        """Seconds that it was waited for, by step."""
        with contextlib.ExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile())
            ours, theirs = socket.socketpair()
            self._channel = stack.enter_context(contextlib.closing(Channel(ours)))
            with theirs:
                # Should this process be killed before the cleanup process knows of the worker, the
                # worker ends itself: until that line it is never stopped, and so can see this end
                # closed.
                self._process = launch(theirs.fileno(), self._log.fileno())
            cleanup.group(self._process.pid)
            self._resources = stack.pop_all()

    @property
    def pid(self) -> int:
        """Of the process, which is also its group's number."""
        return self._process.pid

    def send(self, fields: Mapping[str, object], tail: bytes = b"") -> None:
        """Send it a message.

        Raises:
            WorkerLost: if it is dead, or reads no message.
        """
        try:
            self._channel.send(fields, tail, _SEND_SECONDS)
        except TimeoutError:
            raise self.lost(f"takes no message within {_SEND_SECONDS:g} s") from None
        except OSError:
            raise self.lost(self.ended()) from None

    def send_descriptors(self, descriptors: Sequence[int]) -> None:
        """Send it open files; see `Channel`.

        Raises:
            WorkerLost: if it is dead.
        """
        try:
            self._channel.send_descriptors(descriptors)
        except OSError:
            raise self.lost(self.ended()) from None

    def limit(self, seconds: float) -> None:
        """Wait no longer than this, from now on, for all of its messages together."""
        self._limited = time.monotonic()
        self._deadline = self._limited + seconds

    def receive(
        self, seconds: float, step: str, watch: Callable[[], None] = lambda: None
    ) -> Message:
        """Wait for a message, while it does a `step`, and call `watch` now and then.

        After 0.1 s, and later less often, down to every second: a connection to a server of another
        side may last for one call only.

        Raises:
            WorkerLost: if it is dead, or sends nothing within `seconds` or its `limit`.
        """
        begun = since = time.monotonic()
        deadline = begun + seconds
        if self._deadline < deadline:
            since, deadline = self._limited, self._deadline
        look = min(_FIRST_LOOK_SECONDS, _LOOK_SECONDS)
        while True:
            left = deadline - time.monotonic()
            try:
                # What has been said meanwhile is read, also after the deadline.
                message = self._channel.receive(max(min(left, look), _SHORTEST_SECONDS))
            except TimeoutError:
                dead = exit_code(self.pid, 0) is not None
                if left > look and not dead:
                    watch()
                    look = min(2 * look, _LOOK_SECONDS)
                    continue
                if dead:  # and a fork of it holds the channel open
                    raise self.lost(f"{self.ended()}, while {step}") from None
                limit = format_quantity(deadline - since, "s")
                self._lost = True
                what = f"the {self.name} side has said nothing for {limit} while {step}"
                raise WorkerSilent(what, self.last_output(), self.name) from None
            except OSError:
                raise self.lost(f"{self.ended()}, while {step}") from None
            self.waited[step] += time.monotonic() - begun
            return message

    def pause(self) -> None:
        """Stop its process group, which waits for a message, until it is resumed."""
        self._paused = True
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._paused = False
        self._signal(signal.SIGCONT)

    def keep_on(self, processors: frozenset[int]) -> None:
        """Run its threads on these processors from now on.

        Raises:
            WorkerLost: if it is dead.
        """
        try:
            keep_on(self.pid, processors)
        except OSError:
            raise self.lost(self.ended()) from None

    def last_output(self) -> str:
        """The last lines that it wrote, on either stream."""
        return "" if self._killed else "\n".join(last_lines(self._log.fileno(), _SHOWN_LINES))

    def ended(self) -> str:
        """How it ended, of a process that is known to have ended or hung up."""
        if self._killed:
            return "was closed"
        code = exit_code(self.pid, _DEATH_SECONDS)
        return "closed its end of the channel" if code is None else ending(code)

    def interrupt(self) -> None:
        """Have it end as by Ctrl-C, unless it is lost; without waiting."""
        if self._killed or self._lost:
            return
        self._interrupted = time.monotonic()
        if self._paused:
            # It waits for a message. Of a process that wakes up, any thread may take the signal,
            # and the main one would not notice.
            with contextlib.suppress(WorkerLost):
                self.resume()
                self.send({"do": "leave"})
        else:
            os.kill(self.pid, signal.SIGINT)

    def kill(self) -> list[Message]:
        """End its process group; a process that was interrupted has some seconds to end by itself.

        The second time there is nothing to do.

        Returns:
            What one that was interrupted has sent meanwhile.
        """
        last: list[Message] = []
        if self._interrupted is not None and not self._killed:
            left = self._interrupted + _INTERRUPT_SECONDS - time.monotonic()
            self._interrupted = None  # whoever interrupts this waits no more
            exit_code(self.pid, max(left, 0.0))
            with contextlib.suppress(OSError, ValueError):  # it may have been ended amid a message
                while True:
                    last.append(self._channel.receive(_REST_SECONDS))
        self._killed = True
        self._cleanup.end(self._process)
        self._resources.close()
        return last

    def lost(self, what: str) -> WorkerLost:
        """The error to raise when it cannot go on: `the base side WHAT`."""
        self._lost = True
        return WorkerLost(f"the {self.name} side {what}", self.last_output(), self.name)

    def _signal(self, which: signal.Signals) -> None:
        # Until kill() reaps it, its number cannot be reused.
        if not self._killed:
            signal_group(self.pid, which)
