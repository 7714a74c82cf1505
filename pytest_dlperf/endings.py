"""Endings: how a process ended, in words, and the last that it wrote."""

from __future__ import annotations

import os
import select
import signal


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
