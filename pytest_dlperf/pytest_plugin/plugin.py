"""pytest's hooks, each a few lines; nothing heavy is imported until a test measures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.pytest_plugin import hookspecs
from pytest_dlperf.pytest_plugin import options as pytest_options
from pytest_dlperf.pytest_plugin import output_files as publishing
from pytest_dlperf.pytest_plugin import pytest_benchmark as neighbours
from pytest_dlperf.pytest_plugin import report_transport as carrier
from pytest_dlperf.pytest_plugin import tuning as tunings
from pytest_dlperf.pytest_plugin.collection import (
    PASSED,
    PLANS,
    PROBLEMS,
    check_items,
    count_relative,
    make_one_a_device,
    measures,
    select_items,
)
from pytest_dlperf.pytest_plugin.fixtures import (
    _trained_reference,
    dlperf,
    dlperf_devices,
    reference_data,
    reference_model,
    reference_training,
)
from pytest_dlperf.pytest_plugin.inventory import UnusedBaselines
from pytest_dlperf.pytest_plugin.session import KEY, DlperfSession

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "_trained_reference",
    "dlperf",
    "dlperf_devices",
    "reference_data",
    "reference_model",
    "reference_training",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    pytest_options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hooks that a conftest may implement."""
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Document the marker and check what is said about the whole run."""
    config.addinivalue_line("markers", pytest_options.marker_line())
    config.addinivalue_line("markers", pytest_options.sweep_marker_line())
    neighbours.heed_disabling(config)
    session = DlperfSession(config, os.environ)
    config.stash[KEY] = session
    config.pluginmanager.register(session, "dlperf-session")
    reports = not (session.leads_duel or hasattr(config, "workerinput"))
    if reports and not config.option.collectonly:
        config.pluginmanager.register(UnusedBaselines(config, session), "dlperf-unused")
        config.pluginmanager.register(tunings.TuningResults(), "dlperf-tunings")
        if session.historian is not None:
            config.pluginmanager.register(session.historian, "dlperf-historian")
    config.pluginmanager.register(neighbours.fixtures(config), "dlperf-neighbours")
    # Workers of pytest-xdist and sides of a duel report to another process.
    if not hasattr(config, "workerinput"):
        publishers = publishing.publishers(config, session, os.environ)
        if not config.option.collectonly:
            config.pluginmanager.register(neighbours.BenchmarkEntries(config), "dlperf-entries")
            for name, publisher in publishers.items():
                config.pluginmanager.register(publisher, name)
    if session.leads_duel and not config.option.collectonly:
        from pytest_dlperf.pytest_plugin.duel_controller import DuelControllerPlugin

        config.pluginmanager.register(DuelControllerPlugin(config, session), "dlperf-dueling")


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test a device, where devices are asked for."""
    session = metafunc.config.stash[KEY]
    make_one_a_device(metafunc, lambda: session.devices)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Read the budgets of every test, and deselect by `--dlperf-only` and `--dlperf-skip`."""
    if any(measures(item) for item in items):
        # TensorFlow would take nearly all memory of a GPU at once: no figure on it would mean
        # anything. It reads this when it first uses a GPU.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    problems = check_items(items)
    session = config.stash[KEY]
    # A worker that ends here would break down without a word: its tests fail instead. Of a duel's
    # sides the candidate's session says it.
    said = session.side.role == "candidate" if session.side else not hasattr(config, "workerinput")
    if problems and said:
        raise pytest.UsageError("\n".join(problems))
    deselected = select_items(items, session.options)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
    session.budgets = count_relative(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What could not be refused at collection is refused here: a wrong marker, no device."""
    problem = item.stash.get(PROBLEMS, None)
    if problem:
        pytest.fail(problem, pytrace=False)
    if tunings.STUDIES in item.stash and item.config.stash[KEY].side is not None:
        pytest.skip(tunings.SKIPPED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test measured travels on its last report."""
    report = yield
    carrier.attach(item, report)
    tunings.attach(item, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test with budgets that passes without having measured has not been judged."""
    pyfuncitem.stash[PASSED] = False
    result = yield
    plan = pyfuncitem.stash.get(PLANS, None)
    fixture = pyfuncitem.funcargs.get("dlperf")
    if plan is not None and plan.budgets and not getattr(fixture, "measured", True):
        pytest.fail("this test has dlperf budgets, but dlperf(...) measured nothing", pytrace=False)
    if tunings.STUDIES in pyfuncitem.stash and not getattr(fixture, "tuned", True):
        pytest.fail(
            "this test has a dlperf_sweep marker, but dlperf.tune(...) tuned nothing", pytrace=False
        )
    pyfuncitem.stash[PASSED] = True
    return result
