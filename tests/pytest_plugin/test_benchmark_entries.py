"""Entries for the real pytest-benchmark."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pytest_benchmark.stats import Metadata

from pytest_dlperf.pytest_plugin.pytest_benchmark import entry_in, make_entry, obstacle
from pytest_dlperf.report.exports import BenchmarkEntry

SESSION = SimpleNamespace(benchmarks=[])
ENTRY = BenchmarkEntry(
    name="test_it[a]",
    fullname="tests/test_a.py::test_it[a]",
    group="slow",
    param="a",
    params={"x": "a"},
    seconds=(0.001, 0.003),
    extra_info={"dlperf": {"schema": 1}},
)


def test_an_entry_is_as_pytest_benchmark_makes_them() -> None:
    """It has all that is saved and shown; one over its mean is items a second."""
    made = make_entry(ENTRY)

    assert isinstance(made, Metadata)
    assert not made.has_error
    saved = made.as_dict(include_data=True)
    assert saved["fullname"] == "tests/test_a.py::test_it[a]"
    assert (saved["group"], saved["param"], saved["params"]) == ("slow", "a", {"x": "a"})
    assert saved["extra_info"] == {"dlperf": {"schema": 1}}
    assert saved["stats"]["data"] == [0.001, 0.003]
    assert saved["stats"]["ops"] == pytest.approx(500.0)
    assert saved["stats"]["rounds"] == 2
    assert saved["stats"]["iterations"] == 1


def test_the_installed_version() -> None:
    """The installed version takes our entries."""
    assert not obstacle(SESSION)


class WithoutData:
    """A class of entries that keeps nothing."""

    def __init__(self, _: object, iterations: int, options: object) -> None:
        self.about = iterations, options

    def update(self, duration: float) -> None:
        """Forget it."""

    def as_dict(self, *, include_data: bool) -> dict[str, object]:
        """Nothing."""
        return {"include_data": include_data}


@pytest.mark.parametrize("changed", [SimpleNamespace, lambda: None, WithoutData, None])
def test_another_version_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch, changed: object
) -> None:
    """Other internals give a reason in words, no exception."""
    monkeypatch.setattr("pytest_benchmark.stats.Metadata", changed)

    assert obstacle(SESSION)


@pytest.mark.parametrize("session", [None, SimpleNamespace(benchmarks={})])
def test_another_session_is_no_reason_to_fail(session: object) -> None:
    """A session that cannot take entries gives a reason."""
    assert obstacle(session) == "its session has no list of benchmarks"


def test_what_the_fixture_measured() -> None:
    """A test's own benchmark is read, and made again elsewhere the same."""
    node = SimpleNamespace(
        name="n",
        fullname="f",
        group=None,
        param=None,
        params=None,
        extra_info={"mine": {1}},
        cprofile_stats=None,
        has_error=False,
    )
    own = Metadata(node, iterations=4, options={})
    for seconds in (0.4, 0.8):
        own.update(seconds)

    entry = entry_in(SimpleNamespace(stats=own))

    assert entry is not None
    assert entry.extra_info == {"mine": "{1}"}
    again = make_entry(entry)
    assert isinstance(again, Metadata)
    assert again.stats.data == pytest.approx([0.1, 0.2])
    assert again.iterations == 4
    node.has_error = True
    assert entry_in(SimpleNamespace(stats=own)) is None


@pytest.mark.parametrize("fixture", [None, object(), SimpleNamespace(stats=None)])
def test_a_fixture_that_measured_nothing(fixture: object) -> None:
    """An unused fixture, or one in its place, has no entry."""
    assert entry_in(fixture) is None
