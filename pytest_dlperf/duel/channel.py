"""Messages between a duel's controller and its workers, over a pair of sockets.

A message is two lengths (8 bytes each), then JSON of the first length and raw bytes of the second,
such as arrays.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VARIABLE: Final = "DLPERF_SIDE"
"""Environment variable by which a worker finds its controller: `DESCRIPTOR:PROCESS`."""

_LENGTHS: Final = struct.Struct(">QQ")
_PIECE: Final = 1 << 18
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Message:
    """A received message: values that JSON can hold, and raw bytes."""

    fields: Mapping[str, Any]
    tail: bytes = b""


class Channel:
    """One end of a pair of sockets, which it owns; for one thread at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = bytearray()

    def send(
        self, fields: Mapping[str, object], tail: bytes = b"", seconds: float | None = None
    ) -> None:
        """Send a message.

        Raises:
            TimeoutError: if the other end does not read it within `seconds`.
            ConnectionError: if the other end is closed.
        """
        text = json.dumps(fields).encode()
        self._socket.settimeout(seconds)
        self._socket.sendall(_LENGTHS.pack(len(text), len(tail)) + text + tail)

    def receive(self, seconds: float | None = None) -> Message:
        """Wait for a message; one that has arrived in part is kept for the next call.

        Raises:
            TimeoutError: if none arrives within `seconds`.
            ConnectionError: if the other end is closed.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        self._fill(_LENGTHS.size, deadline)
        text, tail = _LENGTHS.unpack_from(self._buffer)
        self._fill(_LENGTHS.size + text + tail, deadline)
        body = memoryview(self._buffer)[_LENGTHS.size : _LENGTHS.size + text + tail]
        message = Message(json.loads(bytes(body[:text])), bytes(body[text:]))
        body.release()
        del self._buffer[: _LENGTHS.size + text + tail]
        return message

    def _fill(self, count: int, deadline: float | None) -> None:
        while len(self._buffer) < count:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise ConnectionError("the other end is closed")
            self._buffer += piece

    def send_descriptors(self, descriptors: Sequence[int]) -> None:
        """Send open files, to an end that waits in `receive_descriptors`.

        Raises:
            ConnectionError: if the other end is closed.
        """
        self._socket.settimeout(None)
        socket.send_fds(self._socket, [b"."], list(descriptors))

    def receive_descriptors(self, count: int) -> list[int]:
        """Wait for open files, of which `send_descriptors` has sent so many at once.

        Raises:
            ConnectionError: if the other end is closed.
        """
        self._socket.settimeout(None)
        mark, descriptors, _, _ = socket.recv_fds(self._socket, 1, count)
        if not mark:
            raise ConnectionError("the other end is closed")
        return descriptors

    def fileno(self) -> int:
        """Descriptor of the socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end; the other end sees that."""
        self._socket.close()


def connect() -> Channel:
    """In a worker: the channel to the controller; from now on this process dies with it.

    To be called once, by the first code that runs. When the controller is gone, this process is
    ended by the kernel; by a thread that sees the channel closed, also on purpose; and by the
    cleanup process, even while this one is stopped.

    Raises:
        KeyError: if this process was not started as a worker.
    """
    channel = connect_without_thread()
    threading.Thread(target=_exit_on_hang_up, args=(channel.fileno(),), daemon=True).start()
    return channel


def connect_without_thread() -> Channel:
    """`connect` for a process that has to stay without threads, since it forks.

    It has to end itself when the channel is closed on purpose.
    """
    # Removed, so that processes that this one starts do not take themselves for workers.
    descriptor, _, controller = os.environ.pop(VARIABLE).partition(":")
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(controller):  # it was gone before the kernel was asked to watch it
        os._exit(1)
    end = socket.socket(fileno=int(descriptor))
    end.set_inheritable(False)
    return Channel(end)


def _exit_on_hang_up(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)  # nothing but a hang-up, so that messages do not wake it
    poll.poll()
    os._exit(1)  # whatever the other threads are doing
