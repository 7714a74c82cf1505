"""Messages between a controller and its workers, and the ways in which workers end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from isolation import TIMEOUT, wait_for

from pytest_dlperf.duel import worker_process
from pytest_dlperf.duel.channel import VARIABLE, Channel, Message, connect
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.worker_handle import WorkerHandle
from pytest_dlperf.duel.worker_process import WorkerLost, WorkerProcess, WorkerSilent, spawn
from pytest_dlperf.duel.worker_spec import WorkerSpec
from pytest_dlperf.duel.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("nothing_is_left")

START = "from pytest_dlperf.duel.channel import connect; channel = connect()\n"
ECHO = START + "while True: got = channel.receive(); channel.send(got.fields, got.tail)"
BUSY = START + "channel.send({})\nwhile True: pass"
SILENT = START + "channel.send({})\nchannel.receive()"
PARENT = """
import json, os, sys, threading
from pathlib import Path
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.worker_process import WorkerProcess, spawn

cleanup = CleanupProcess().start()
sides = []
for code in json.loads(sys.argv[1]):
    command = [sys.executable, "-c", code]
    side = WorkerProcess("base", spawn(command, Path(), os.environ), cleanup)
    sides.append(side)
    if "send" in code:
        side.receive(60, "starting")
if sys.argv[2] == "paused":
    for side in sides:
        side.pause()
print(json.dumps([side.pid for side in sides]), flush=True)
threading.Event().wait()
"""


def environment() -> dict[str, str]:
    """This process', with its module path."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@contextlib.contextmanager
def running(code: str) -> Iterator[WorkerProcess]:
    """A side that runs some code."""
    command = [sys.executable, "-c", code]
    with CleanupProcess() as cleanup:
        side = WorkerProcess("base", spawn(command, Path.cwd(), environment()), cleanup)
        with contextlib.ExitStack() as stack:
            stack.callback(side.kill)
            yield side


@pytest.mark.parametrize("paused", [True, False])
def test_an_interrupted_side_ends_by_itself(
    tmp_path: Path,
    paused: bool,  # noqa: FBT001 - a parameter
) -> None:
    """It runs what it has to do at its end, also while it waits or is stopped."""
    left = tmp_path / "left"
    code = f"{START}import pathlib\nleft = pathlib.Path({str(left)!r})\nleft.touch()\n"
    code += "try: channel.send({}); channel.receive()\nfinally: left.unlink()"
    with running(code) as side:
        side.receive(TIMEOUT, "starting")
        if paused:
            side.pause()
        side.interrupt()
        side.kill()
        assert not left.exists()


def test_an_interrupted_side_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed after some seconds; one that is lost already, at once."""
    code = START + "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += "channel.send({})\ntime.sleep(1000)"
    with running(code) as side:
        side.receive(TIMEOUT, "starting")
        monkeypatch.setattr(worker_process, "_INTERRUPT_SECONDS", 0.05)
        side.interrupt()
        side.kill()
    monkeypatch.setattr(worker_process, "_INTERRUPT_SECONDS", 1e6)
    with running(code) as side:
        side.receive(TIMEOUT, "starting")
        with pytest.raises(WorkerLost):
            side.receive(0.01, "sleeping")
        side.interrupt()
        side.kill()


def test_messages_and_their_tails() -> None:
    """Fields and bytes come back as they were, also those larger than any buffer."""
    with running(ECHO) as side:
        for fields, tail in (
            ({}, b""),
            ({"a": [1, 0.1, None, "é"], "b": {"c": float("inf")}}, b"\0\xff"),
            ({"text": "x" * 100_000}, bytes(5_000_000)),
        ):
            side.send(fields, tail)
            assert side.receive(TIMEOUT, "echoing") == Message(fields, tail)


def test_a_message_in_pieces() -> None:
    """What has arrived of a message is kept when the time is over; two at once stay apart."""
    here, there = socket.socketpair()
    whole, far = socket.socketpair()
    with contextlib.closing(Channel(whole)) as sender, far:
        sender.send({"a": 1}, b"tail", TIMEOUT)
        said = far.recv(1 << 16)
    with contextlib.closing(Channel(here)) as channel, there:
        for byte in said[:-1]:
            there.sendall(bytes([byte]))
            with pytest.raises(TimeoutError):
                channel.receive(0.001)
        there.sendall(said[-1:] + said)
        for _ in range(2):
            assert channel.receive(TIMEOUT) == Message({"a": 1}, b"tail")
        there.sendall(said[:-1])
        there.close()
        with pytest.raises(ConnectionError):
            channel.receive(TIMEOUT)


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("print('last words'); raise SystemExit(3)", "ended with exit code 3"),
        (
            START + "import os; print('last words', flush=True); os.kill(os.getpid(), 9)",
            "was killed by SIGKILL, as the kernel does when memory runs out",
        ),
        (START + "import os; os.write(1, b'last words'); os.abort()", "was killed by SIGABRT"),
    ],
)
def test_a_side_that_dies(code: str, end: str) -> None:
    """How it ended, in which step, and the last that it wrote; also for what is asked later."""
    with running(code) as side:
        for _ in range(2):
            with pytest.raises(WorkerLost) as caught:
                side.receive(TIMEOUT, "starting")
            assert caught.value.problem == f"the base side {end}, while starting"
            assert "last words" in caught.value.output
            assert "last words" in str(caught.value)
        with pytest.raises(WorkerLost, match=end):
            side.send({})
        side.pause()
        side.resume()


def test_a_side_that_dies_and_leaves_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is seen though a fork of it holds the channel open; the fork is ended with it."""
    monkeypatch.setattr(worker_process, "_LOOK_SECONDS", 0.05)
    code = "import os, time\nchild = os.fork()\nif not child: time.sleep(1000)\n"
    code += "print(child, flush=True)\nos._exit(4)"
    with running(START + code) as side:
        with pytest.raises(WorkerLost, match="exit code 4, while forking"):
            side.receive(TIMEOUT, "forking")
        fork = os.pidfd_open(int(side.last_output()))
    assert wait_for(fork)


def test_a_limit_is_for_all_messages_together() -> None:
    """Beside that of each message; and how long each step was waited for is known."""
    with running(ECHO) as side:
        side.send({})
        side.receive(TIMEOUT, "starting")
        side.limit(0.0)
        with pytest.raises(WorkerSilent, match=r"nothing for .* while warming up"):
            side.receive(TIMEOUT, "warming up")
        side.limit(math.inf)
        side.send({})
        side.receive(TIMEOUT, "warming up")
        assert side.waited.keys() == {"starting", "warming up"}


def test_a_side_that_hangs() -> None:
    """The limit and the step are named; what it says afterwards is still received."""
    with running(SILENT) as side:
        side.receive(TIMEOUT, "starting")
        with pytest.raises(WorkerLost, match="the base side has said nothing for 50 ms while warm"):
            side.receive(0.05, "warming up")
    with running(ECHO) as side:
        side.send({})
        assert side.receive(TIMEOUT, "echoing").fields == {}
        with pytest.raises(WorkerLost):
            side.receive(0.01, "waiting")
        side.send({"late": 1})
        assert side.receive(TIMEOUT, "echoing").fields == {"late": 1}


def test_a_side_that_takes_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is not read does not block for ever."""
    monkeypatch.setattr(worker_process, "_SEND_SECONDS", 0.05)
    with running(BUSY) as side:
        side.receive(TIMEOUT, "starting")
        with pytest.raises(WorkerLost, match=r"takes no message within 0\.05 s"):
            side.send({}, bytes(5_000_000))


def test_a_side_that_takes_no_first_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed, since whoever starts it does not have it yet."""
    ends = []

    def refuse(worker: WorkerHandle, _: object) -> None:
        ends.append(os.pidfd_open(worker._process.pid))  # noqa: SLF001 - to see its end
        raise WorkerLost("takes no message", "")

    monkeypatch.setattr(WorkerHandle, "begin", refuse)
    spec = WorkerSpec(sys.executable, Path.cwd(), Path.cwd(), (), (), environment())
    with CleanupProcess() as cleanup:
        request = SimpleNamespace(cache=None, timeout=TIMEOUT, in_path=False, session={})
        workspace: Any = SimpleNamespace(
            specs={"candidate": spec}, request=request, cleanup=cleanup, fork_server=None
        )
        with pytest.raises(WorkerLost, match="takes no message"):
            Workspace.start(workspace, "candidate", print)
        assert wait_for(ends[0])


def test_a_side_that_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that closed its end but lives on is lost too, as a program that is no side is."""
    monkeypatch.setattr(worker_process, "_DEATH_SECONDS", 0.05)
    code = f"import os, time; os.close(int(os.environ[{VARIABLE!r}].split(':')[0]))"
    with (
        running(f"{code}; time.sleep(1000)") as side,
        pytest.raises(WorkerLost, match="closed its end of the channel, while starting"),
    ):
        side.receive(TIMEOUT, "starting")


def test_pausing() -> None:
    """A paused side does nothing, and goes on where it was when it is resumed."""
    with running(ECHO) as side:
        side.send({})
        side.receive(TIMEOUT, "starting")
        side.pause()
        end = time.monotonic() + TIMEOUT
        while psutil.Process(side.pid).status() != "stopped" and time.monotonic() < end:
            time.sleep(0.001)
        side.send({"a": 1})
        with pytest.raises(WorkerLost):
            side.receive(0.05, "stopped")
        side.resume()
        assert side.receive(TIMEOUT, "echoing").fields == {"a": 1}


def test_closing() -> None:
    """A side that is paused is ended too; afterwards all is an error in words, or nothing."""
    with running(ECHO) as side:
        ends = os.pidfd_open(side.pid)
        side.pause()
        side.kill()
        assert wait_for(ends)
        side.kill()
        side.pause()
        side.resume()
        for ask in (lambda: side.receive(TIMEOUT, "being asked"), lambda: side.send({})):
            with pytest.raises(WorkerLost, match="the base side was closed"):
                ask()


def test_what_a_side_has() -> None:
    """A session of its own, no input, and nothing that its own children could take for theirs."""
    code = f"""
import os, subprocess, sys
ask = "import os; print({VARIABLE!r} in os.environ, len(os.listdir('/proc/self/fd')), end='')"
channel.send({{
    "session": os.getsid(0), "input": sys.stdin.read(), "parent": os.getppid(),
    "child": subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True).stdout,
}})
"""
    with running(START + code) as side:
        found = side.receive(TIMEOUT, "starting").fields
        assert found == {
            "session": side.pid,
            "input": "",
            "parent": os.getpid(),
            "child": "False 4",
        }


def test_a_process_that_is_no_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was started as a side can connect."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(KeyError, match=VARIABLE):
        connect()


@pytest.mark.parametrize("state", ["running", "paused"])
def test_sides_die_with_their_parent(state: str) -> None:
    """A parent that is killed leaves no side, be it busy, waiting, starting, or stopped."""
    codes = [BUSY, SILENT, "import time; time.sleep(1000)"]
    parent = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", PARENT, json.dumps(codes), state],
        stdout=subprocess.PIPE,
        env=environment(),
    )
    with parent:
        assert parent.stdout is not None
        sides = [os.pidfd_open(pid) for pid in json.loads(parent.stdout.readline())]
        parent.kill()
        assert [wait_for(side) for side in sides] == [True] * len(codes)


def test_a_side_that_is_not_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker ends itself when its parent is gone before it could register the worker."""
    monkeypatch.setattr(CleanupProcess, "group", lambda *_: None)
    cleanup = CleanupProcess()
    command = [sys.executable, "-c", BUSY]
    side = WorkerProcess("base", spawn(command, Path.cwd(), environment()), cleanup)
    side.receive(TIMEOUT, "starting")
    ends = os.pidfd_open(side.pid)
    side._channel.close()  # noqa: SLF001 - as the kernel does when this process is killed
    assert wait_for(ends)
    assert side.ended() == "ended with exit code 1"
    side.kill()


def test_ctrl_c_is_not_for_sides() -> None:
    """A terminal's signals go to the foreground group, which no side is in."""
    with running(ECHO) as side:
        assert os.getpgid(side.pid) == side.pid != os.getpgid(0)
