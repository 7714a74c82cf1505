"""Collection: settles the plan of each test, and reports wrong markers before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf._values import absence, expand
from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.options import TUNES, overlay
from pytest_dlperf.config.plan import Plan, plan
from pytest_dlperf.errors import UsageError
from pytest_dlperf.pytest_plugin.options import command_line, ini_file, layers
from pytest_dlperf.pytest_plugin.tuning import STUDIES, study_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _pytest.mark import ParameterSet

    from pytest_dlperf.config.options import Options

DEVICES: Final = "dlperf_devices"
"""The fixture that holds the devices of a test."""

PLANS: Final = pytest.StashKey[Plan]()
"""Where a test keeps its plan."""

PASSED: Final = pytest.StashKey[bool]()
"""Where a test keeps whether its own code has passed."""

PROBLEMS: Final = pytest.StashKey[str]()
"""Where a test keeps the problem that makes it fail in its setup: a wrong marker, no device."""


def measures(item: pytest.Item) -> bool:
    """Whether a test requests the `dlperf` fixture."""
    return "dlperf" in getattr(item, "fixturenames", ())


def parametrize_devices(metafunc: pytest.Metafunc, here: Callable[[], Sequence[str]]) -> None:
    """Make one test per device that the options of a test ask for.

    A test whose `Serving` names devices, or that is parametrised by hand, is left alone. The test
    of an absent device is skipped; with `--dlperf-devices-required` it fails. `here`, which
    returns the devices of this machine, is called only if a test asks for devices.
    """
    if DEVICES not in metafunc.fixturenames or _parametrised(metafunc.definition):
        return
    try:
        options = overlay(layers(metafunc.definition))
    except UsageError:
        return  # reported by `check_items`, with file and line
    if options.devices and not (options.serving and options.serving.devices):
        names = expand(options.devices, here())
        required = bool(options.devices_required)
        cases = [_case(name, here(), required=required) for name in names]
        metafunc.parametrize(DEVICES, cases, indirect=True)


def _parametrised(item: pytest.Item) -> bool:
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        split = names.split(",") if isinstance(names, str) else names
        if DEVICES in {name.strip() for name in split}:
            return True
    return False


def _case(name: str, here: Sequence[str], *, required: bool) -> ParameterSet:
    if name in here:
        return pytest.param((name,), id=name)
    if required:
        return pytest.param(UsageError(absence(name, here)), id=name)
    return pytest.param((name,), id=name, marks=pytest.mark.skip(reason=absence(name, here)))


def check_items(items: list[pytest.Item]) -> list[str]:
    """Settle the plan of every test that measures, and mark it.

    Returns the problems of markers, each once; they, and absent devices that are required, are
    kept with their tests too.
    """
    problems: dict[str, None] = {}
    of_run = next((_problem_of_run(item.config) for item in items if measures(item)), "")
    for item in items:
        if of_run and measures(item):
            item.stash[PROBLEMS] = of_run
            problems[of_run] = None
            continue
        try:
            _check(item)
        except UsageError as error:
            path, line, _ = item.location
            place = f"{path}:{(line or 0) + 1}: {getattr(item, 'originalname', item.name)}"
            item.stash[PROBLEMS] = f"{place}: {error}"
            problems[item.stash[PROBLEMS]] = None
        callspec = getattr(item, "callspec", None)
        device = callspec.params.get(DEVICES) if callspec is not None else None
        if isinstance(device, UsageError):  # absent, but required
            item.stash[PROBLEMS] = str(device)
    return list(problems)


def _problem_of_run(config: pytest.Config) -> str:
    """What is wrong with a budget for all tests, and where it was given; empty if nothing is."""
    origins = (
        (command_line(config), "--dlperf-budgets"),
        (ini_file(config), "ini file: dlperf_budgets"),
    )
    for layer, origin in origins:
        for text in layer.budgets or ():
            try:
                parse_budget(text)
            except UsageError as error:
                return f"{origin}: {error}"
    return ""


def count_relative(items: list[pytest.Item]) -> int:
    """The number of relative budgets; a test that measures counts as one at least."""
    plans = [item.stash[PLANS] for item in items if PLANS in item.stash]
    return sum(max(1, sum(budget.relative for budget in plan.budgets)) for plan in plans)


def plan_of(item: pytest.Item) -> Plan:
    """The plan of a test.

    Raises:
        UsageError: for a marker that makes no sense.
    """
    options = layers(item)
    return plan(options, run_wide={0, len(options) - 1})  # the command line and the ini file


def _check(item: pytest.Item) -> None:
    if measures(item):
        item.stash[PLANS] = plan_of(item)
        study = study_of(item, item.stash[PLANS], overlay(layers(item)).duration)
        if study is not None:
            item.stash[STUDIES] = study
        if item.get_closest_marker("dlperf") is None:
            item.add_marker("dlperf")  # so that -m dlperf finds every test that measures
    elif any(mark.name == "dlperf" for mark in item.own_markers):
        raise UsageError(
            "it has a dlperf marker, but never measures",
            "request the fixture: def test_...(dlperf): dlperf(target, data)",
        )
    elif any(mark.name == TUNES for mark in item.own_markers):
        raise UsageError(
            f"it has a {TUNES} marker, but never tunes",
            "request the fixture: def test_...(dlperf): dlperf.tune(build, data)",
        )


def select_items(items: list[pytest.Item], options: Options) -> list[pytest.Item]:
    """Apply `--dlperf-only` and `--dlperf-skip`; returns the deselected items."""
    if not (options.only or options.skip):
        return []
    deselected = [item for item in items if measures(item) is not bool(options.only)]
    items[:] = [item for item in items if measures(item) is bool(options.only)]
    return deselected
