"""Option values: the URL of a history, which may hold a password."""

from __future__ import annotations

import pytest

from pytest_dlperf.config.options import DEFAULTS, Options, from_texts
from pytest_dlperf.errors import UsageError


@pytest.mark.parametrize(
    "url",
    [
        "none",
        "sqlite:///history.sqlite",
        "sqlite:////var/lib/history.sqlite",
        "postgresql://u:p@host/db",
        "postgresql+psycopg://host/db",
    ],
)
def test_urls_are_taken_as_they_are(url: str) -> None:
    """Which databases there are is not known here."""
    assert from_texts({"history": url}, "--dlperf-").history == url


@pytest.mark.parametrize("text", ["geheim", "history.sqlite", "/geheim.db", "u:geheim@h/d", "://x"])
def test_what_is_no_url_is_not_shown(text: str) -> None:
    """It may be a part of one, with its password."""
    with pytest.raises(UsageError, match="that is no URL of a database") as caught:
        from_texts({"history": text}, "--dlperf-")

    assert str(caught.value).startswith("--dlperf-history: ")
    assert "geheim" not in str(caught.value)
    assert "postgresql://USER@HOST/DATABASE" in caught.value.hint


def test_options_do_not_show_it() -> None:
    """Tracebacks print values."""
    options = from_texts({"history": "postgresql://u:geheim@h/d"}, "")

    assert "geheim" not in repr(options)
    assert options != Options()


def test_files_are_the_default() -> None:
    """Baselines are reviewed like code unless it is said otherwise."""
    assert str(DEFAULTS.baseline) == "files"
    assert DEFAULTS.history is None
