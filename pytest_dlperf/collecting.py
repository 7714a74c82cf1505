"""Collecting: what is wrong with a marker is said before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf.core.plan import Plan, plan
from pytest_dlperf.errors import UsageError
from pytest_dlperf.pytest_options import layers

if TYPE_CHECKING:
    from pytest_dlperf.core.options import Options

PLANS: Final = pytest.StashKey[Plan]()
"""Where a test keeps its plan."""

PASSED: Final = pytest.StashKey[bool]()
"""Where a test keeps whether its own code came to its end."""

PROBLEMS: Final = pytest.StashKey[str]()
"""Where a test keeps what is wrong with its marker, if that could not be said at collection."""


def measures(item: pytest.Item) -> bool:
    """Whether a test requests the `dlperf` fixture."""
    return "dlperf" in getattr(item, "fixturenames", ())


def check_items(items: list[pytest.Item]) -> list[str]:
    """Settle the plan of every test that measures, and mark it.

    Returns:
        What is wrong with markers, each once; kept with its tests too.
    """
    problems: dict[str, None] = {}
    for item in items:
        try:
            _check(item)
        except UsageError as error:
            path, line, _ = item.location
            place = f"{path}:{(line or 0) + 1}: {getattr(item, 'originalname', item.name)}"
            item.stash[PROBLEMS] = f"{place}: {error}"
            problems[item.stash[PROBLEMS]] = None
    return list(problems)


def plan_of(item: pytest.Item) -> Plan:
    """The plan of a test.

    Raises:
        UsageError: for a marker that makes no sense.
    """
    return plan(layers(item))


def _check(item: pytest.Item) -> None:
    if measures(item):
        item.stash[PLANS] = plan_of(item)
        if item.get_closest_marker("dlperf") is None:
            item.add_marker("dlperf")  # so that -m dlperf finds every test that measures
    elif any(mark.name == "dlperf" for mark in item.own_markers):
        raise UsageError(
            "it has a dlperf marker, but never measures",
            "request the fixture: def test_...(dlperf): dlperf(target, data)",
        )


def select_items(items: list[pytest.Item], options: Options) -> list[pytest.Item]:
    """Keep what `--dlperf-only` and `--dlperf-skip` leave; returns what they take away."""
    if not (options.only or options.skip):
        return []
    deselected = [item for item in items if measures(item) is not bool(options.only)]
    items[:] = [item for item in items if measures(item) is bool(options.only)]
    return deselected
