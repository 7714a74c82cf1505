"""pytest's hooks, each a few lines; nothing heavy is imported until a test measures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.pytest_plugin import hookspecs, pytest_benchmark
from pytest_dlperf.pytest_plugin.collection import (
    PASSED,
    PLANS,
    PROBLEMS,
    check_items,
    count_relative,
    measures,
    parametrize_devices,
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
from pytest_dlperf.pytest_plugin.options import (
    VARIABLES,
    add_options,
    marker_line,
    sweep_marker_line,
)
from pytest_dlperf.pytest_plugin.output_files import output_plugins
from pytest_dlperf.pytest_plugin.report_transport import attach
from pytest_dlperf.pytest_plugin.session import KEY, DlperfSession
from pytest_dlperf.pytest_plugin.session_hooks import SessionHooks
from pytest_dlperf.pytest_plugin.tuning import SKIPPED, STUDIES, TuningResults

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
    add_options(parser)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Keep the environment as the user has set it, for other processes of pytest."""
    early_config.stash[VARIABLES] = dict(os.environ)
    return (yield)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hooks that a conftest may implement."""
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Document the markers, check the options of the run, and register the parts of the plugin."""
    config.addinivalue_line("markers", marker_line())
    config.addinivalue_line("markers", sweep_marker_line())
    pytest_benchmark.heed_disabling(config)
    session = DlperfSession(config, os.environ)
    config.stash[KEY] = session
    config.pluginmanager.register(SessionHooks(session), "dlperf-session")
    if not (session.reports_elsewhere or session.leads_duel) and not config.option.collectonly:
        config.pluginmanager.register(UnusedBaselines(config, session), "dlperf-unused")
        TuningResults.register(config)
        if session.history_recorder is not None:
            config.pluginmanager.register(session.history_recorder, "dlperf-history")
    config.pluginmanager.register(pytest_benchmark.fixtures(config), "dlperf-pytest-benchmark")
    if not session.reports_elsewhere:
        outputs = output_plugins(config, session, os.environ)
        if not config.option.collectonly:
            entries = pytest_benchmark.BenchmarkEntries(config)
            config.pluginmanager.register(entries, "dlperf-entries")
            for name, output in outputs.items():
                config.pluginmanager.register(output, name)
    if session.leads_duel and not config.option.collectonly:
        from pytest_dlperf.pytest_plugin.duel_controller import DuelControllerPlugin

        config.pluginmanager.register(DuelControllerPlugin(config, session), "dlperf-dueling")


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per device, where options or the marker ask for devices."""
    session = metafunc.config.stash[KEY]
    parametrize_devices(metafunc, lambda: session.devices)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Read the budgets of every test, and deselect by `--dlperf-only` and `--dlperf-skip`."""
    if any(measures(item) for item in items):
        # TensorFlow would take nearly all memory of a GPU at once, which would make its memory
        # use meaningless. It reads this when it first uses a GPU.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    problems = check_items(items)
    session = config.stash[KEY]
    # An xdist worker that ends here would crash without a message: its tests fail instead. Of
    # the two workers of a duel, the candidate's reports it.
    reported = (
        session.side.role == "candidate" if session.side else not hasattr(config, "workerinput")
    )
    if problems and reported:
        raise pytest.UsageError("\n".join(problems))
    deselected = select_items(items, session.options)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
    session.budgets = count_relative(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test with a wrong marker or an absent device that collection could not refuse."""
    problem = item.stash.get(PROBLEMS, None)
    if problem:
        pytest.fail(problem, pytrace=False)
    if STUDIES in item.stash and item.config.stash[KEY].side is not None:
        pytest.skip(SKIPPED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the records of a test to its last report."""
    report = yield
    attach(item, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Fail a test with budgets that passes without having measured."""
    pyfuncitem.stash[PASSED] = False
    result = yield
    plan = pyfuncitem.stash.get(PLANS, None)
    fixture = pyfuncitem.funcargs.get("dlperf")
    if plan is not None and plan.budgets and not getattr(fixture, "measured", True):
        pytest.fail("this test has dlperf budgets, but dlperf(...) measured nothing", pytrace=False)
    if STUDIES in pyfuncitem.stash and not getattr(fixture, "tuned", True):
        pytest.fail(
            "this test has a dlperf_sweep marker, but dlperf.tune(...) tuned nothing", pytrace=False
        )
    pyfuncitem.stash[PASSED] = True
    return result
