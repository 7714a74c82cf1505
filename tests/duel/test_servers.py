"""A server of one side that another side asks is found, and no other one."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.duel.servers import (
    PADDING,
    Socket,
    asked_ports,
    check_connections,
    check_failure,
    check_servers,
    sockets_of,
)
from pytest_dlperf.errors import DuelError

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY = "0.0.0.0"  # noqa: S104 - nothing is bound
SIDES = {1: "base", 2: "candidate"}


def server(worker: int, port: int = 8500, address: str = "127.0.0.1") -> Socket:
    """A socket that listens."""
    return Socket(worker, f"{worker}0 (python)", address, port)


def client(worker: int, port: int = 8500, address: str = "127.0.0.1", own: str = "") -> Socket:
    """A socket that is connected."""
    return Socket(worker, f"{worker}1 (python)", own or address, 40000 + worker, (address, port))


@pytest.mark.parametrize(
    "sockets",
    [
        [server(1), client(1), server(2, 8501), client(2, 8501)],
        [client(1), client(2)],  # of a server that neither has started
        [server(1), client(2, address="10.0.0.9", own="10.0.0.1")],
        [server(1, address=ANY), client(2, address="10.0.0.9", own="10.0.0.1")],
        [server(1), server(2, address="127.0.0.2")],
        [server(1), server(1, address=ANY)],
    ],
)
def test_servers_of_ones_own(sockets: list[Socket]) -> None:
    """Another port, another machine or another address is another server."""
    check_servers(sockets, SIDES)


@pytest.mark.parametrize(
    "sockets",
    [
        [server(1), client(2)],
        [server(1, address=ANY), client(2)],
        [server(1, address="::"), client(2, address="::1")],
        [server(1, address=ANY), client(2, address="10.0.0.1")],
        [server(1), server(2)],
        [server(1, address=ANY), server(2)],
    ],
)
def test_a_server_of_another_side(sockets: list[Socket]) -> None:
    """Port, processes and the way out are named."""
    with pytest.raises(DuelError) as raised:
        check_servers(sockets, SIDES)
    said = str(raised.value)
    assert "port 8500" in said
    assert "the base side (process 1, with 10 (python))" in said
    assert "the candidate side (process 2, with 2" in said
    assert "port 0" in said


@pytest.mark.parametrize(
    ("why", "found"),
    [
        ("OSError: [Errno 98] Address already in use", True),
        ("RuntimeError: no answer on 127.0.0.1:8500", True),
        ("port 18500 is closed", False),
        ("AssertionError", False),
    ],
)
def test_a_side_that_fails(why: str, *, found: bool) -> None:
    """For want of a port that another side has; its failure is told too."""
    sockets = [server(1), client(2)]
    with pytest.raises(DuelError) if found else contextlib.nullcontext() as raised:
        check_failure(2, why, sockets, SIDES)
    if raised is not None:
        said = str(raised.value)
        assert said.startswith(f"the candidate side fails: {why}\n")
        assert "port 8500 (127.0.0.1) is held by the base side (process 1, with 10" in said
    check_failure(1, why, sockets, SIDES)


@pytest.mark.parametrize(
    ("worker", "times", "own", "refused"),
    [(2, 5, (), True), (2, 4, (), False), (1, 50, (), False), (2, 50, (server(2),), False)],
    ids=["asks", "a few", "asks its own", "has one of its own"],
)
def test_a_connection_for_each_call(
    worker: int, times: int, own: tuple[Socket, ...], *, refused: bool
) -> None:
    """A worker that has made several of them asks the server, even if none is open any more."""
    asked = asked_ports([(40000 + number, 8500) for number in range(times)])
    with (
        pytest.raises(DuelError, match=r"has connected \d+ times to port 8500")
        if refused
        else (contextlib.nullcontext())
    ):
        check_connections(worker, asked, [server(1), *own], SIDES)


LISTENS = """
import os, socket, sys
if sys.argv[1:] == ["daemon"] and os.fork():
    sys.stdin.read()
    os._exit(0)
if sys.argv[1:] == ["daemon"]:
    os.setsid()
    if os.fork():
        os._exit(0)
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["child", "daemon"])
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """A worker's process number, and the port that it or a daemon of it listens on."""
    process = subprocess.Popen(  # noqa: S603 - no shell
        [sys.executable, "-c", LISTENS, request.param],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, PADDING: "of this worker"},
    )
    with process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())


def test_sockets_of_workers(listening: tuple[int, int]) -> None:
    """Sockets are found with their owners, whether in a process or in a daemon it has started."""
    worker, port = listening
    with socket.create_connection(("127.0.0.1", port)):
        found = sockets_of({worker: "of this worker", os.getpid(): ""})
    assert [(one.worker, one.address) for one in found if one.port == port and one.remote is None]
    with pytest.raises(DuelError, match=f"connected to port {port}"):
        check_servers(found, {worker: "base", os.getpid(): "candidate"})
