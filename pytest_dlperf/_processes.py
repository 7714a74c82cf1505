"""Timeouts for calls in threads, and the ends of child processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from pytest_dlperf.errors import AnswerError
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


TICK_SECONDS: Final = 0.05
"""How often a running load is checked for timeouts."""

NO_ANSWER: Final = "no answer"
"""Kind of error of a call that does not return."""

_T = TypeVar("_T")
_OWN: Final = str(Path(__file__).parent)
_LIBRARY: Final = tuple(
    str(Path(threading.__file__).parent / part) for part in ("threading", "asyncio", "concurrent")
)


class _Abandoned(BaseException):
    """Ends an abandoned thread; a `BaseException` so that `except Exception` does not catch it."""


class LoadObserver(Protocol):
    """Observes a running load."""

    def tick(self, now_ns: int) -> None:
        """Called about every 50 ms; must be quick."""
        ...


def call_with_timeout(seconds: float, call: Callable[[], _T]) -> _T:
    """Return the result of a call, or abandon it after `seconds`.

    The call runs in a daemon thread. If it does not return, an exception ends its thread when that
    next runs Python code; a thread that waits for ever stays.

    Raises:
        AnswerError: if it has not returned by then; says where it was.
        BaseException: whatever the call raises.
    """
    __tracebackhide__ = True
    returned: list[_T] = []
    raised: list[BaseException] = []

    def work() -> None:
        __tracebackhide__ = True
        try:
            returned.append(call())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            raised.append(error)

    thread = threading.Thread(target=work, name="dlperf call", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise give_up(thread, "the call", seconds)
    if raised:
        raise raised[0]
    return returned[0]


def give_up(thread: threading.Thread, what: str, seconds: float) -> AnswerError:
    """Abandon a thread; returns an error that says where it was."""
    place = _place(thread)
    _interrupt(thread)
    waited = format_quantity(seconds, "s")
    return AnswerError(NO_ANSWER, f"{what} had not returned after {waited}; it was in {place}")


def is_abandonment(error: BaseException) -> bool:
    """Whether an exception is the one that ends an abandoned thread."""
    return isinstance(error, _Abandoned)


def _place(thread: threading.Thread) -> str:
    """Where a thread is: the first frame outside this package, and the innermost."""
    if not thread.is_alive():
        return "a thread that has ended"
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - its documented name
    frames = [f for f in traceback.extract_stack(frame) if not f.filename.startswith(_OWN)]
    called = [f for f in frames if not f.filename.startswith(_LIBRARY)] or frames
    shown = dict.fromkeys(
        f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in (*called[:1], *frames[-1:])
    )
    return ", ".join(shown) or "code that Python cannot see"


def _interrupt(thread: threading.Thread) -> None:
    # Takes effect when the thread next runs Python code, so an endless loop ends.
    ident = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_Abandoned))


def ending(code: int) -> str:
    """How a process ended, from its exit code; negative is the signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    memory = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
    return f"was killed by {names.get(-code, f'signal {-code}')}{memory}"


def exit_code(pid: int, seconds: float) -> int | None:
    """Wait for a child to exit without reaping it, so that its PID cannot be reused.

    Until its leader is reaped, a process group can be signalled safely.

    Returns:
        Its exit code, negative for a signal; None if it has not exited within `seconds`.

    Raises:
        OSError: if it is not a child of this process, or already reaped.
    """
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(descriptor)
    status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if status is None:
        return None
    return status.si_status if status.si_code == os.CLD_EXITED else -status.si_status


def usable_processors() -> frozenset[int]:
    """The processors that this process may use; empty where it cannot be kept on some of them."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else frozenset()


def keep_on(pid: int, processors: frozenset[int]) -> None:
    """Run all threads of a process on these processors from now on.

    Threads that start later inherit them. One that ends meanwhile is left alone.
    """
    for thread in _threads(pid):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread, processors)


@contextlib.contextmanager
def processors_restored() -> Iterator[Callable[[], None]]:
    """Give the threads of this process back the processors that they had before the context.

    Yields:
        A function that does so within it, as for what is set up before more is measured: a thread
        pool is as large as the processors that there are when it starts.
    """
    usable = usable_processors()
    if not usable:
        yield lambda: None
        return
    before: dict[int, set[int]] = {}
    for thread in _threads(os.getpid()):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            before[thread] = os.sched_getaffinity(thread)

    def restore() -> None:
        restored: set[int] = set()
        # Until none is left: one that is still kept may start another meanwhile.
        while waiting := set(_threads(os.getpid())) - restored:
            for thread in waiting:
                # It may have ended, or its processors may have been taken from the process.
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(thread, before.get(thread, usable))
            restored |= waiting

    try:
        yield restore
    finally:
        restore()


def _threads(pid: int) -> list[int]:
    return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]


def last_lines(log: int, count: int, size: int = 4096) -> list[str]:
    """The last lines, at most `size` bytes, of an open file that another process may write."""
    # pread, since a seek would move the other process's write position.
    written = os.pread(log, size, max(0, os.fstat(log).st_size - size))
    return written.decode(errors="replace").splitlines()[-count:]
