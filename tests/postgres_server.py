"""A PostgreSQL server of the tests' own, from Debian's package, which ends with them."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD: Final = "pa/ss:w@rd %20"  # noqa: S105 - of a server that lives for seconds
"""Of every user; none of its characters is easy."""

_OWNER: Final = "dlperf"
_SECONDS: Final = 60
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",  # the server's machine does not fail in any test
    "shared_buffers": "16MB",
    "log_min_messages": "fatal",
}


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def find_binaries() -> Path | None:
    """The folder of the newest server's programs, None if it is not installed."""
    folders = {path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")}
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


class PostgresServer:
    """A server that listens on a socket in a folder of its own.

    Args:
        binaries: the folder of its programs.
        folder: a new one, with a short path.
    """

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._identity = _identity()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()

    def create(self) -> None:
        """Make its files."""
        if self._identity:
            os.chown(self._folder, self._identity["user"], self._identity["group"])
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        subprocess.run(  # noqa: S603 - fixed arguments
            [
                self._binaries / "initdb",
                *("--pgdata", self._folder / "data", "--username", _OWNER, "--pwfile", secret),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._identity,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - fixed arguments
                [
                    *(self._binaries / "postgres", "-D", self._folder / "data"),
                    *("-k", self._folder, *settings),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C is for the tests, which then end it
                **self._identity,
            )
        ready = [self._binaries / "pg_isready", "--quiet", "--host", self._folder]
        give_up = time.monotonic() + _SECONDS
        while subprocess.run(ready, check=False).returncode != 0:  # noqa: S603 - fixed arguments
            if self._process.poll() is not None or time.monotonic() > give_up:
                log_text = (self._folder / "log").read_text()
                raise RuntimeError(f"PostgreSQL does not start:\n{log_text}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def url(self, database: str, user: str = _OWNER, password: str = PASSWORD) -> str:
        """The URL of a database."""
        secret = quote(password, safe="")
        return f"postgresql://{user}:{secret}@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test{next(self._numbers)}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, database: str, statement: str) -> None:
        """Have a statement executed by the owner of all."""
        import psycopg

        with psycopg.connect(
            host=str(self._folder),
            dbname=database,
            user=_OWNER,
            password=PASSWORD,
            autocommit=True,
        ) as connection:
            connection.execute(statement)


def _identity() -> _Identity:
    """Whom it runs as: it refuses to be root's."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("there is no user that PostgreSQL could run as")


@contextlib.contextmanager
def running(binaries: Path) -> Iterator[PostgresServer]:
    """A new server, as long as it is needed."""
    # Not in pytest's folder: a socket's path has at most 107 characters, and only root may
    # enter it.
    folder = Path(tempfile.mkdtemp(prefix="dlperf-pg-", dir="/tmp"))
    server = PostgresServer(binaries, folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


# Not for the session: other modules' tests look at what processes there are.
@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """A server that runs; all tests of a module share it, each with a database of its own."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed: apt-get install postgresql")
    with running(binaries) as server:
        yield server
