"""Attendance: threads that call what may never return, and what is said of those that do not."""

from __future__ import annotations

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
    from collections.abc import Callable


TICK_SECONDS: Final = 0.05
"""How often whoever started a load looks after it."""

NO_ANSWER: Final = "no answer"
"""What a call that does not return is counted as."""

_T = TypeVar("_T")
_OWN: Final = str(Path(__file__).parent)
_LIBRARY: Final = tuple(
    str(Path(threading.__file__).parent / part) for part in ("threading", "asyncio", "concurrent")
)


class _Abandoned(BaseException):
    """Raised inside a thread that is not waited for any more; not for users' `except Exception`."""


class LoadObserver(Protocol):
    """Somebody who looks on while a load runs."""

    def tick(self, now_ns: int) -> None:
        """Called about every 50 ms; must be quick."""
        ...


def call_with_timeout(seconds: float, call: Callable[[], _T]) -> _T:
    """The result of a call that may take so long.

    The call runs in a daemon thread. One that does not return is abandoned: if it runs Python
    code it ends there, and if it waits it never wakes or ends when it does.

    Raises:
        AnswerError: if it has not returned by then; says where it was.
        BaseException: whatever the call raises.
    """
    returned: list[_T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
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
    """Stop waiting for a thread, and say where it was."""
    place = _place(thread)
    _interrupt(thread)
    waited = format_quantity(seconds, "s")
    return AnswerError(NO_ANSWER, f"{what} had not returned after {waited}; it was in {place}")


def is_abandonment(error: BaseException) -> bool:
    """Whether a thread ends because nobody waits for it any more."""
    return isinstance(error, _Abandoned)


def _place(thread: threading.Thread) -> str:
    """Where a thread is: the first frame that is not ours, and the innermost."""
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
    # Reaches a thread when it next runs Python code, so that a loop does not go on for ever.
    ident = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_Abandoned))


def ending(code: int) -> str:
    """How a process ended, from its exit code; negative is the signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    names = {one.value: one.name for one in signal.Signals}
    memory = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
    return f"was killed by {names.get(-code, f'signal {-code}')}{memory}"


def exit_code(pid: int, seconds: float) -> int | None:
    """Wait for a child's end without burying it, so that its number stays its own.

    A process group may be signalled for as long as its leader is not buried: until then the
    kernel gives its number to no other.

    Returns:
        Its exit code, negative for a signal; None if it has not ended within `seconds`.

    Raises:
        OSError: if it is no child of this process, or buried.
    """
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(descriptor)
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def last_lines(log: int, count: int, size: int = 4096) -> list[str]:
    """The last lines of an open file, which another process may be writing.

    Args:
        log: its descriptor.
        count: how many lines at the most.
        size: how many bytes at the most.
    """
    # Not by seek(), which would move where the other process writes.
    written = os.pread(log, size, max(0, os.fstat(log).st_size - size))
    return written.decode(errors="replace").splitlines()[-count:]
