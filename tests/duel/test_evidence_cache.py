"""Duels continue from the pairs of earlier duels of the same code, and of no other."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.duel.evidence_cache import PairEffectCache

if TYPE_CHECKING:
    from pathlib import Path

TEST = "tests/test_model.py::test_fast"
VERSIONS = ("0123abc", "content", "a-machine")


def files(folder: Path, *versions: str) -> PairEffectCache:
    """The cache of two versions of the code."""
    return PairEffectCache(folder, versions or VERSIONS)


def test_a_run_goes_on_with_what_was_measured(tmp_path: Path) -> None:
    """Pairs are added in the order in which they were measured, budget by budget."""
    files(tmp_path).add(TEST, "", {"a": (0.01, 0.02), "b": (0.5,)})
    files(tmp_path).add(TEST, "", {"a": (0.03,), "c": (-0.25,)})

    assert files(tmp_path).recall(TEST, "") == {"a": (0.01, 0.02, 0.03), "b": (0.5,), "c": (-0.25,)}


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    """A measurement of which nothing was kept has no earlier pairs."""
    assert files(tmp_path).recall(TEST, "") == {}


@pytest.mark.parametrize(
    ("versions", "test", "name"),
    [
        (("0123abd", "content", "a-machine"), TEST, ""),
        (("0123abc", "changed", "a-machine"), TEST, ""),
        (("0123abc", "content", "another"), TEST, ""),
        (VERSIONS, f"{TEST}2", ""),
        (VERSIONS, TEST, "other"),
    ],
)
def test_only_the_same_is_gone_on_with(
    tmp_path: Path, versions: tuple[str, ...], test: str, name: str
) -> None:
    """Other code, another machine, another test or measurement begins anew."""
    files(tmp_path).add(TEST, "", {"a": (0.01,)})

    assert files(tmp_path, *versions).recall(test, name) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"schema": 2, "effects": {"a": [0.1]}}',
        b'{"schema": 1}',
        b'{"schema": 1, "effects": {"a": ["x"]}}',
        b'{"schema": 1, "effects": {"a": 3}}',
        b'{"schema": 1, "effects": {"a": [NaN]}}',
        b'{"schema": 1, "effects": {"a": [Infinity]}}',
        b"\xff\xfe\x00",
    ],
)
def test_what_cannot_be_read_is_forgotten(tmp_path: Path, content: bytes) -> None:
    """A damaged file is as if it were not there, and the next duel writes a good one."""
    cache = files(tmp_path)
    cache.add(TEST, "", {"a": (0.01,)})
    (path,) = tmp_path.glob("*/*.json")
    path.write_bytes(content)

    assert cache.recall(TEST, "") == {}
    cache.add(TEST, "", {"a": (0.02,)})
    assert cache.recall(TEST, "") == {"a": (0.02,)}
    assert json.loads(path.read_bytes())["test"] == TEST


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    """A cache that cannot be written to fails no test; it is said once."""
    (tmp_path / "file").write_text("in the way")
    warnings: list[str] = []
    cache = PairEffectCache(tmp_path / "file", VERSIONS, warnings.append)

    for name in ("", "again"):
        cache.add(TEST, name, {"a": (0.01,)})

        assert cache.recall(TEST, name) == {}
    (warning,) = warnings
    assert warning.startswith("a duel that is repeated does not continue from this one: ")
    assert str(tmp_path / "file") in warning


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    """Two duels that end at the same time both add their pairs."""

    def add(effect: float) -> None:
        for _ in range(20):
            files(tmp_path).add(TEST, "", {"a": (effect,)})

    threads = [threading.Thread(target=add, args=(effect,)) for effect in (0.01, 0.02)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(files(tmp_path).recall(TEST, "")["a"]) == [0.01] * 20 + [0.02] * 20


def test_without_a_cache_nothing_is_remembered() -> None:
    """Where pytest keeps no cache, each run begins anew."""
    cache = PairEffectCache(None)

    cache.add(TEST, "", {"a": (0.01,)})

    assert cache.recall(TEST, "") == {}
