"""Servers that the sides of a duel start, and whether one side asks those of another.

A side that waits is stopped, with the servers that it has started. Another one that asks them waits
in vain; or it measures the other side's code, where a server has left its side's process group.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import DuelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PADDING: Final = "DLPERF_PADDING"
"""Environment variable by which daemons are known: no two workers have the same value."""

_IN_USE: Final = re.compile(r"in use|EADDRINUSE|errno 98", re.IGNORECASE)
_SEVERAL: Final = 5  # a few connections may be those of the server itself
_ANY: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - is compared, not bound to
_ADVICE: Final = (
    "\n  each side needs a server of its own: let it bind to port 0, and ask it for the port it got"
)


@dataclass(frozen=True, slots=True)
class Socket:
    """A TCP socket of a worker or of a process that it has started.

    Attributes:
        worker: its process number.
        process: the one that has the socket, such as `18 (postgres)`.
        address: its own.
        port: its own.
        remote: address and port at the other end; None if it listens.
    """

    worker: int
    process: str
    address: str
    port: int
    remote: tuple[str, int] | None = None

    @property
    def place(self) -> str:
        """Address and port, as a user reads it."""
        return f"port {self.port} ({self.address})"


def check_servers(sockets: Sequence[Socket], workers: Mapping[int, str]) -> None:
    """Refuse workers of which one asks a server of another.

    Args:
        sockets: of all workers.
        workers: process number -> side.

    Raises:
        DuelError: naming the port, the processes and what to do.
    """
    listening = [one for one in sockets if one.remote is None]
    for one, other in combinations(listening, 2):
        if one.worker != other.worker and one.port == other.port and _overlap(one, other):
            raise DuelError(
                f"{_side(one, workers)} and {_side(other, workers)} both listen on {one.place}, so "
                f"each may get the other's answers{_ADVICE}"
            )
    for asking in sockets:
        for server in listening:
            if asking.worker != server.worker and _reaches(asking, server):
                raise DuelError(
                    f"{_side(asking, workers)} is connected to {server.place}, where "
                    f"{_side(server, workers)} listens{_ADVICE}"
                )


def check_connections(
    worker: int, asked: Mapping[int, int], sockets: Sequence[Socket], workers: Mapping[int, str]
) -> None:
    """Refuse a worker that has asked a server of another one, with a connection for each call.

    Args:
        worker: that has worked while all others waited.
        asked: port -> number of connections that were made meanwhile; see `asked_ports`.
        sockets: of all workers.
        workers: process number -> side.

    Raises:
        DuelError: naming the port, the processes and what to do.
    """
    listening = [one for one in sockets if one.remote is None and one.port in asked]
    own = {one.port for one in listening if one.worker == worker}
    for server in listening:
        if server.port not in own:
            raise DuelError(
                f"the {workers[worker]} side (process {worker}) has connected "
                f"{asked[server.port]} times to {server.place}, where {_side(server, workers)} "
                f"listens{_ADVICE}"
            )


def asked_ports(new: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Ports that have several of some connections, and how many.

    Args:
        new: the ports of both ends of each.
    """
    counts = Counter(port for ends in new for port in set(ends))
    return {port: count for port, count in counts.items() if count >= _SEVERAL}


def check_failure(
    worker: int, why: str, sockets: Iterable[Socket], workers: Mapping[int, str]
) -> None:
    """Refuse workers of which one fails since another has the port that it wants.

    Args:
        worker: that has failed.
        why: it has.
        sockets: of all workers.
        workers: process number -> side.

    Raises:
        DuelError: naming the port, the processes and what to do.
    """
    others = [one for one in sockets if one.remote is None and one.worker != worker]
    named = [one for one in others if re.search(rf"(?<!\d){one.port}(?!\d)", why)]
    held = named or (others if _IN_USE.search(why) else [])
    if held:
        owners = "; ".join(f"{one.place} is held by {_side(one, workers)}" for one in held)
        raise DuelError(f"the {workers[worker]} side fails: {why}\n  {owners}{_ADVICE}")


def _side(one: Socket, workers: Mapping[int, str]) -> str:
    return f"the {workers[one.worker]} side (process {one.worker}, with {one.process})"


def _overlap(one: Socket, other: Socket) -> bool:
    return one.address == other.address or not _ANY.isdisjoint((one.address, other.address))


def _reaches(asking: Socket, server: Socket) -> bool:
    if asking.remote is None or asking.remote[1] != server.port:
        return False
    address = asking.remote[0]
    local = address in (asking.address, "::1") or address.startswith("127.")
    return address == server.address or (local and server.address in _ANY)


def connections() -> frozenset[tuple[int, int]]:
    """The ports of both ends of all TCP connections of this machine.

    Also of those that were closed in the last minute.
    """
    import psutil

    return frozenset(
        (one.laddr.port, one.raddr.port) for one in psutil.net_connections(kind="tcp") if one.raddr
    )


def sockets_of(workers: Mapping[int, str]) -> list[Socket]:
    """The TCP sockets of workers and of all processes that they have started, daemons too.

    Args:
        workers: process number -> the worker's `PADDING`.
    """
    import psutil

    owners = _Owners(workers)
    found = []
    for one in psutil.net_connections(kind="tcp"):
        listens = one.status == psutil.CONN_LISTEN
        if one.pid is None or not (listens or one.raddr):
            continue
        worker = owners.of(one.pid)
        if worker is not None:
            remote = None if listens else (_plain(one.raddr.ip), one.raddr.port)
            name = f"{one.pid} ({owners.name(one.pid)})"
            found.append(Socket(worker, name, _plain(one.laddr.ip), one.laddr.port, remote))
    return found


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


class _Owners:
    """Which worker has started a process."""

    def __init__(self, workers: Mapping[int, str]) -> None:
        self._known: dict[int, int | None] = {worker: worker for worker in workers}
        self._paddings = {padding: worker for worker, padding in workers.items() if padding}

    def of(self, process: int) -> int | None:
        if process not in self._known:
            ancestors = (self._known.get(parent) for parent in _parents(process))
            worker = next((one for one in ancestors if one is not None), None)
            # A daemon has no parent of ours any more, but its environment.
            self._known[process] = worker or self._paddings.get(_padding(process))
        return self._known[process]

    @staticmethod
    def name(process: int) -> str:
        import psutil

        with contextlib.suppress(psutil.Error):
            return str(psutil.Process(process).name())
        return "ended meanwhile"


def _parents(process: int) -> Iterator[int]:
    import psutil

    with contextlib.suppress(psutil.Error):
        yield from (parent.pid for parent in psutil.Process(process).parents())


def _padding(process: int) -> str:
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        return str(psutil.Process(process).environ().get(PADDING, ""))
    return ""
