"""Duels continue from the pairs of earlier duels of the same code, and of no other."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.duel.evidence_cache import PairEffectCache
from pytest_dlperf.duel.questions import NO_EVIDENCE

if TYPE_CHECKING:
    from pathlib import Path

TEST = "tests/test_model.py::test_fast"
MACHINE = ("a-machine", "tensorflow=2.21")
VERSIONS = ("0123abc", "content")


def files(folder: Path, *versions: str, machine: tuple[str, ...] = MACHINE) -> PairEffectCache:
    """The cache of two versions of the code."""
    return PairEffectCache(folder, machine, versions or VERSIONS)


def test_a_run_goes_on_with_what_was_measured(tmp_path: Path) -> None:
    """Pairs are added in the order in which they were measured, budget by budget."""
    files(tmp_path).add(TEST, "", {"a": (0.01, 0.02), "b": (0.5,)})
    files(tmp_path).add(TEST, "", {"a": (0.03,), "c": (-0.25,)})

    known = files(tmp_path).recall(TEST, "")
    assert known.repeated == {"a": (0.01, 0.02, 0.03), "b": (0.5,), "c": (-0.25,)}
    assert known.others == ()


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    """A measurement of which nothing was kept has no earlier pairs."""
    assert files(tmp_path).recall(TEST, "") == NO_EVIDENCE


@pytest.mark.parametrize("versions", [("0123abd", "content"), ("0123abc", "changed")])
def test_other_versions_show_how_much_pairs_differ(
    tmp_path: Path, versions: tuple[str, ...]
) -> None:
    """Duel by duel, and they are not gone on with."""
    files(tmp_path).add(TEST, "", {"a": (0.01, 0.02)})
    files(tmp_path).add(TEST, "", {"a": (0.05,), "b": (0.1,)})

    known = files(tmp_path, *versions).recall(TEST, "")
    assert known.repeated == {}
    assert known.duels("a") == [(0.01, 0.02), (0.05,)]
    assert known.duels("b") == [(0.1,)]


@pytest.mark.parametrize(
    ("machine", "test", "name"),
    [
        (("another", "tensorflow=2.21"), TEST, ""),
        (("a-machine", "tensorflow=2.22"), TEST, ""),
        (MACHINE, f"{TEST}2", ""),
        (MACHINE, TEST, "other"),
    ],
)
def test_all_else_is_of_another_file(
    tmp_path: Path, machine: tuple[str, ...], test: str, name: str
) -> None:
    """Another machine or software, another test or measurement begins anew."""
    files(tmp_path).add(TEST, "", {"a": (0.01,)})

    assert files(tmp_path, machine=machine).recall(test, name) == NO_EVIDENCE


def test_the_oldest_duels_are_forgotten(tmp_path: Path) -> None:
    """Forty are kept."""
    for number in range(45):
        files(tmp_path, "base", f"content {number}").add(TEST, "", {"a": (float(number),)})

    known = files(tmp_path).recall(TEST, "")
    assert known.duels("a") == [(float(number),) for number in range(5, 45)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"schema": 1, "effects": {"a": [0.1]}}',
        b'{"schema": 3, "duels": []}',
        b'{"schema": 2}',
        b'{"schema": 2, "duels": [["x", {"a": ["x"]}]]}',
        b'{"schema": 2, "duels": [["x", {"a": 3}]]}',
        b'{"schema": 2, "duels": [["x"]]}',
        b'{"schema": 2, "duels": 7}',
        b'{"schema": 2, "duels": [["x", {"a": [NaN]}]]}',
        b'{"schema": 2, "duels": [["x", {"a": [Infinity]}]]}',
        b"\xff\xfe\x00",
    ],
)
def test_what_cannot_be_read_is_forgotten(tmp_path: Path, content: bytes) -> None:
    """A damaged file is as if it were not there, and the next duel writes a good one."""
    cache = files(tmp_path)
    cache.add(TEST, "", {"a": (0.01,)})
    (path,) = tmp_path.glob("*/*.json")
    path.write_bytes(content)

    assert cache.recall(TEST, "") == NO_EVIDENCE
    cache.add(TEST, "", {"a": (0.02,)})
    assert cache.recall(TEST, "").repeated == {"a": (0.02,)}
    assert json.loads(path.read_bytes())["test"] == TEST


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    """A cache that cannot be written to fails no test; it is said once."""
    (tmp_path / "file").write_text("in the way")
    warnings: list[str] = []
    cache = PairEffectCache(tmp_path / "file", MACHINE, VERSIONS, warnings.append)

    for name in ("", "again"):
        cache.add(TEST, name, {"a": (0.01,)})

        assert cache.recall(TEST, name) == NO_EVIDENCE
    (warning,) = warnings
    assert warning.startswith("a duel that is repeated does not continue from this one: ")
    assert str(tmp_path / "file") in warning


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    """Two duels that end at the same time both add their pairs."""

    def add(effect: float) -> None:
        for _ in range(15):
            files(tmp_path).add(TEST, "", {"a": (effect,)})

    threads = [threading.Thread(target=add, args=(effect,)) for effect in (0.01, 0.02)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(files(tmp_path).recall(TEST, "").repeated["a"]) == [0.01] * 15 + [0.02] * 15


def test_without_a_cache_nothing_is_remembered() -> None:
    """Where pytest keeps no cache, each run begins anew."""
    cache = PairEffectCache(None)

    cache.add(TEST, "", {"a": (0.01,)})

    assert cache.recall(TEST, "") == NO_EVIDENCE
