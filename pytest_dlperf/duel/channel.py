"""Handover: messages between a duel's referee and its sides, and how both ends frame them.

A message is two lengths (8 bytes each), then so many bytes of JSON and so many of anything else,
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
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "DLPERF_SIDE"
"""The environment variable that tells a side where its referee is: `DESCRIPTOR:PROCESS`."""

_LENGTHS: Final = struct.Struct(">QQ")
_PIECE: Final = 1 << 18
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Message:
    """What one end says to the other.

    Attributes:
        fields: what JSON can hold.
        tail: bytes beside it; may be empty.
    """

    fields: Mapping[str, object]
    tail: bytes = b""


class Channel:
    """One end of a pair of sockets that carries messages; for one thread at a time.

    Args:
        end: the socket; it is this channel's from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._arrived = bytearray()

    def send(self, message: Message, seconds: float) -> None:
        """Send a message.

        Raises:
            TimeoutError: if the other end has not taken it within `seconds`.
            ConnectionError: if the other end is gone.
        """
        said = json.dumps(message.fields).encode()
        self._end.settimeout(seconds)
        self._end.sendall(_LENGTHS.pack(len(said), len(message.tail)) + said + message.tail)

    def receive(self, seconds: float | None) -> Message:
        """Wait for a message.

        One that has arrived in part when the time is over is not lost: call this again.

        Args:
            seconds: how long; None: for ever.

        Raises:
            TimeoutError: if none has arrived by then.
            ConnectionError: if the other end is gone.
        """
        end = None if seconds is None else time.monotonic() + seconds
        self._fill(_LENGTHS.size, end)
        said, tail = _LENGTHS.unpack_from(self._arrived)
        self._fill(_LENGTHS.size + said + tail, end)
        body = memoryview(self._arrived)[_LENGTHS.size : _LENGTHS.size + said + tail]
        message = Message(json.loads(bytes(body[:said])), bytes(body[said:]))
        body.release()
        del self._arrived[: _LENGTHS.size + said + tail]
        return message

    def _fill(self, count: int, end: float | None) -> None:
        while len(self._arrived) < count:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._end.settimeout(left)
            piece = self._end.recv(_PIECE)
            if not piece:
                raise ConnectionError("the other end is closed")
            self._arrived += piece

    def close(self) -> None:
        """Close this end, which the other end is told of."""
        self._end.close()


def connect() -> Channel:
    """In a side: the channel to the referee; from now on this process dies with it.

    To be called once, by the first code that runs. Three things end this process when the
    referee's is gone: the kernel; a thread that sees the channel closed, also if that happened
    on purpose; and, even while this process is stopped, the keeper.

    Raises:
        KeyError: if this process was not started as a side.
    """
    # Removed, so that processes that this one starts do not take themselves for sides.
    descriptor, _, referee = os.environ.pop(VARIABLE).partition(":")
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(referee):  # it was gone before the kernel was asked to watch it
        os._exit(1)
    end = socket.socket(fileno=int(descriptor))
    end.set_inheritable(False)
    watcher = threading.Thread(target=_end_with, args=(end.fileno(),), daemon=True)
    watcher.start()
    return Channel(end)


def _end_with(descriptor: int) -> None:
    """End the process when the other end is closed, whatever it is doing."""
    poll = select.poll()
    poll.register(descriptor, 0)  # nothing but a hang-up, so that messages do not wake it
    poll.poll()
    os._exit(1)
