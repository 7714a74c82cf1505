"""A server on a fixed port that both sides of a duel start: said at once, and in words."""

from __future__ import annotations

import socket

import pytest
from duel_projects import Project, text

pytestmark = pytest.mark.subprocess

SERVED = """
import http.server
import socketserver
import subprocess
import sys
import threading
import urllib.request

PORT = {port}
SOURCE = '''
import http.server, socketserver, socket, sys
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_port = {shared}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"1")
    def log_message(self, *words):
        pass
server = Server(("127.0.0.1", {port}), Handler)
print("ready", flush=True)
server.serve_forever()
'''

def answers():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{{PORT}}") as answer:
            return bool(answer.read())
    except OSError:
        return False

@pytest.fixture
def server():
    if {reuses} and not AT_BASE:  # the base's is there already
        while not answers():
            time.sleep(0.01)
        yield
        return
    with subprocess.Popen(
        [sys.executable, "-c", SOURCE], stdout=subprocess.PIPE, start_new_session={daemon}
    ) as process:
        if not process.stdout.readline():
            raise OSError(98, "Address already in use")
        yield
        process.kill()

def ask(batch):
    assert answers()
    return batch.copy()

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_served(dlperf, server):
    dlperf(ask, DATA)

def test_other():
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with a model, and no tests yet."""
    return Project(pytester, monkeypatch)


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("shared", "reuses", "daemon", "problem"),
    [
        (False, False, False, "side fails: OSError: [Errno 98] Address already in use"),
        (True, False, False, "both listen on port {port} (127.0.0.1)"),
        (False, True, False, "port {port} (127.0.0.1), where the base side"),
        (False, True, True, "port {port} (127.0.0.1), where the base side"),
    ],
    ids=["in use", "both listen", "reused", "reused, not stopped with its side"],
)
def test_fixed_port(
    project: Project, problem: str, *, shared: bool, reuses: bool, daemon: bool
) -> None:
    """Whether the second server fails, shares the port, or is not started: the test is an error."""
    port = free_port()
    project.tests(SERVED.format(port=port, shared=shared, reuses=reuses, daemon=daemon))
    project.commit()

    result = project.duel_in_real_time()

    said = text(result)
    assert problem.format(port=port) in said
    assert f"port {port}" in said
    assert "let it bind to port 0" in said
    assert "test_served" in said
    assert result.parseoutcomes()["passed"] == 1, said
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "measured in turn in" not in said or "0 measured in turn" in said


def test_free_port(project: Project) -> None:
    """With a port of its own, each side asks its own server."""
    source = SERVED.format(port=0, shared=False, reuses=False, daemon=False)
    source = source.replace(
        "    with subprocess.Popen(", "    global PORT\n    with subprocess.Popen("
    )
    source = source.replace('print("ready", flush=True)', "print(server.server_port, flush=True)")
    source = source.replace(
        "        if not process.stdout.readline():\n"
        '            raise OSError(98, "Address already in use")\n',
        "        PORT = int(process.stdout.readline())\n",
    )
    project.tests(source)
    project.commit()

    result = project.duel_in_real_time()

    result.assert_outcomes(passed=2)
    assert "1 measured in turn" in text(result)
