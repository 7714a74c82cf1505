"""The history's URL: which database it names, and that no part of a secret is ever shown."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.errors import HistoryError, UsageError
from pytest_dlperf.history.database import database_of
from pytest_dlperf.history.store import open_history
from pytest_dlperf.history.url import ServerUrl, default_url, parse_url

# None of these characters is in the texts around a secret, so that any part of it is noticed.
_SECRETS = st.text("QXZ73@:/?#%&=+ $Ψ\\'\"", min_size=4, max_size=20).filter(
    lambda secret: re.search("[QXZ73Ψ]{2}", secret)
)


def _server(url: str) -> ServerUrl:
    parsed = parse_url(url)
    assert isinstance(parsed, ServerUrl)
    return parsed


def _leaks(secret: str, text: str) -> bool:
    """Whether a text has any two adjacent characters of a secret."""
    parts = {secret[at : at + 2] for at in range(len(secret) - 1)}
    return any(part in text for part in parts if re.fullmatch("[QXZ73Ψ]{2}", part))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////tmp/h.sqlite", "/tmp/h.sqlite"),  # noqa: S108 - nothing is opened
        ("sqlite+pysqlite:////a%20b%3Fc", "/a b?c"),
        ("sqlite:////a%25b", "/a%b"),
        ("sqlite:////a b", "/a b"),
    ],
)
def test_a_file(url: str, path: str) -> None:
    """After three slashes there is a percent-encoded path."""
    assert parse_url(url) == Path(path)


def test_a_file_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that does not begin with a slash is relative."""
    monkeypatch.chdir(tmp_path)
    assert parse_url("sqlite:///a/h.sqlite") == tmp_path / "a" / "h.sqlite"


@given(st.binary(min_size=1).filter(lambda name: not re.search(rb"[\0/]|\.\.", name)))
def test_the_default_url(name: bytes) -> None:
    """It names the file below the root directory, whatever its name."""
    root = Path("/somewhere") / os.fsdecode(name)
    assert parse_url(default_url(root)) == root / ".dlperf" / "history.sqlite"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server(scheme: str) -> None:
    """PostgreSQL is always used with psycopg 3."""
    server = _server(f"{scheme}://user:pass%40word@host:5433/base?sslmode=require")
    assert server.url.drivername == "postgresql+psycopg"
    assert server.url.password == "pass@word"  # noqa: S105 - of the test
    assert server.place == "postgresql://user:***@host:5433/base?sslmode=require"


@given(_SECRETS, _SECRETS)
def test_shown_urls_have_no_secret(password: str, other: str) -> None:
    """Neither the password nor a parameter that may be secret is shown."""
    coded, parameter = quote(password, safe=""), quote(other, safe="")
    server = _server(
        f"postgresql://user:{coded}@host/base?password={parameter}&sslpassword={parameter}"
        f"&passfile={parameter}&x={parameter}&x={parameter}&host=h"
    )
    assert server.url.password == password
    for shown in (server.place, repr(server), str(server)):
        assert not _leaks(password, shown)
        assert not _leaks(other, shown)
    assert server.place.endswith("?host=h&passfile=***&password=***&sslpassword=***&x=***&x=***")


@given(_SECRETS, _SECRETS)
def test_messages_of_drivers_have_no_secret(password: str, other: str) -> None:
    """A secret is masked in messages of the driver and the server, encoded or not."""
    url = f"postgresql://user:{quote(password, safe='')}@host/base?y={quote(other, safe='')}"
    database = database_of(url)
    for message in (password, other, quote(password, safe=""), f"<{other}{password}>", url):
        with pytest.raises(HistoryError) as caught, database.explained_errors():
            raise OSError(message)
        assert not _leaks(password, str(caught.value))
        assert not _leaks(other, str(caught.value))


@given(
    st.sampled_from(
        [
            "postgresql://user:{}@host/base",
            "postgresql://user:{}@host:port/base",
            "postgresql://us/er:{}@host/base",
            "postgresql://user:{}@@host/base",
            "postgresql:/user:{}@host/base",
            "postgresql:user:{}@host/base",
            "mysql://user:{}@host/base",
            "sqlite://user:{}@/x",
            "sqlite:///x?key={}",
            "host=h password={}",
            "{}",
        ]
    ),
    _SECRETS,
)
def test_an_unencoded_password_is_not_shown(form: str, password: str) -> None:
    """Even if a part of it, after @, / or :, could be read as host, port or database."""
    shown = ""
    try:
        parsed = parse_url(form.format(password))
    except UsageError as error:
        shown = str(error)
    else:
        shown = parsed.place if isinstance(parsed, ServerUrl) else ""
    assert not _leaks(password, shown)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("history.sqlite", "cannot be read"),
        ("", "cannot be read"),
        ("://", "cannot be read"),
        ("postgresql://user:secret@host:port/base", "cannot be read"),
        ("postgresql://user:se@cret@host/base", "more than one way"),
        ("postgresql://us/er:secret@host/base", "more than one way"),
        ("mysql://user:secret@host/base", "cannot be kept with 'mysql'"),
        ("postgresql+psycopg2://user:secret@host/base", "kept with 'postgresql[+]psycopg2'"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://x/y", "names no file"),
        ("sqlite:///a?mode=secret", "has parameters"),
        ("sqlite:///a%00b", "a file that cannot exist"),
    ],
)
def test_refused_urls(url: str, problem: str) -> None:
    """The error says what is wrong and what is expected, without any part of the URL."""
    with pytest.raises(UsageError, match=problem) as caught:
        open_history(url)
    assert "expected" in caught.value.hint or "%40" in caught.value.hint
    assert "secret" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg the error names the extra that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(UsageError, match="needs the package psycopg") as caught:
        database_of("postgresql://user:secret@host/base")
    assert caught.value.hint == "pip install 'pytest-dlperf[postgres]'"
    assert "secret" not in str(caught.value)
