"""pytest-benchmark: every measurement is an entry of its session too.

A test that measures requests its fixture, so that `--benchmark-only` and `--benchmark-skip` apply
to it. Without the plugin, or with a version that makes its entries in another way, all else works.
"""

from __future__ import annotations

import json
import os
import shlex
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from pytest_dlperf._values import plain_values, short_values
from pytest_dlperf.errors import DlperfWarning
from pytest_dlperf.pytest_plugin.options import arguments_given, run_options
from pytest_dlperf.pytest_plugin.report_transport import metadata_of, records_of
from pytest_dlperf.report.exports import BenchmarkEntry, BenchmarkMetadata, benchmark_entries
from pytest_dlperf.results.codec import fields_from_json, fields_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from pytest_dlperf.config.plan import Plan

_ATTRIBUTE: Final = "dlperf_benchmark"
"""Attribute of a report that carries an entry out of a duel's worker."""
REPORTING_OPTIONS: Final[dict[str, object]] = {
    "benchmark_autosave": None,
    "benchmark_compare": [],
    "benchmark_compare_fail": None,
    "benchmark_histogram": [],
    "benchmark_json": None,
    "benchmark_save": None,
}
"""Options of pytest-benchmark for the process that reports, and the values that turn them off."""
_TIMER: Final = "pytest_dlperf"
"""The timer named in our entries, which tells them from others."""
_TRIAL: Final = BenchmarkEntry("trial", "trial", None, None, None, (1.0, 3.0), {"a": 1.0})


class BenchmarkSession(Protocol):
    """The part of pytest-benchmark's session that is used here."""

    benchmarks: list[object]
    quiet: bool  # shows no table


class BenchmarkRecord(Protocol):
    """pytest-benchmark's own entry, of one test."""

    def update(self, duration: float) -> None:
        """Add the duration of one round, in seconds."""

    def as_dict(self, *, include_data: bool) -> Mapping[str, object]:
        """As its files have it."""


def is_there(config: pytest.Config) -> bool:
    """Whether pytest-benchmark is loaded, under whatever name."""
    return hasattr(config.option, "benchmark_json")


def heed_disabling(config: pytest.Config) -> None:
    """Turn `--benchmark-disable` into a smoke run of the tests that measure.

    Raises:
        pytest.UsageError: with an option that a smoke run contradicts.
    """
    if not (is_there(config) and config.option.benchmark_disable):
        return
    # pytest-codspeed sets the option by itself when it blocks the plugin.
    if config.option.benchmark_enable or config.pluginmanager.is_blocked("pytest-benchmark"):
        return
    options = run_options(config)
    for option, given in (
        ("--dlperf-update", options.update),
        ("--dlperf-against", options.against),
    ):
        if given:
            raise pytest.UsageError(
                f"--benchmark-disable with {option}: it makes smoke runs of tests that measure\n"
                "  leave one of them out, or add --benchmark-enable"
            )
    config.option.dlperf_quick = True


def fixtures(config: pytest.Config) -> WithPytestBenchmark | WithoutPytestBenchmark:
    """The plugin whose fixture `_dlperf_benchmark` is pytest-benchmark's, or None."""
    return WithPytestBenchmark(config) if is_there(config) else WithoutPytestBenchmark()


class WithPytestBenchmark:
    """The fixture where pytest-benchmark is installed."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._checked = False

    @pytest.fixture
    def _dlperf_benchmark(self, benchmark: object) -> Iterator[object]:
        """pytest-benchmark's own fixture, for its group and extra_info."""
        self._warn_once()
        yield benchmark
        if not getattr(benchmark, "_mode", True):
            # Else it would warn that its fixture was not used.
            benchmark._mode = "dlperf"  # type: ignore[attr-defined]  # noqa: SLF001

    def _warn_once(self) -> None:
        """Warn if this pytest-benchmark takes no entries."""
        session = _enabled(self._config)
        if self._checked or session is None:
            return
        self._checked = True
        problem = obstacle(session)
        if problem:
            warnings.warn(
                "what dlperf measures is not passed on to pytest-benchmark, which has changed: "
                f"{problem}",
                DlperfWarning,
                stacklevel=2,
            )


class WithoutPytestBenchmark:
    """The fixture where pytest-benchmark is not installed."""

    @pytest.fixture
    def _dlperf_benchmark(self) -> None:
        """Nothing."""


def metadata_about(item: pytest.Item, plan: Plan, benchmark: object) -> BenchmarkMetadata:
    """The metadata of a test for the process that reports.

    Args:
        item: the test.
        plan: of its markers and the options.
        benchmark: pytest-benchmark's fixture, a replacement of it, or None.
    """
    callspec = getattr(item, "callspec", None)
    group = getattr(benchmark, "group", None)
    return BenchmarkMetadata(
        group=None if group is None else str(group),
        param=None if callspec is None else str(callspec.id),
        params=None if callspec is None else short_values(callspec.params),
        extra_info=plain_values(getattr(benchmark, "extra_info", {})),
        benchmarked=bool(getattr(benchmark, "_mode", None)),
        missing=plan.missing,
        inconclusive=plan.inconclusive,
        base_broken=plan.base_broken,
    )


class ForwardedBenchmarks:
    """In a duel's worker: attaches entries of the fixture `benchmark` to a test's last report."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the entry of the test."""
        report = yield
        fixture = getattr(item, "funcargs", {}).get("benchmark")
        if report.when == "teardown" and fixture is not None:
            entry = entry_in(fixture)
            if entry is not None:
                vars(report)[_ATTRIBUTE] = json.dumps(fields_to_json(entry))
        return report


class BenchmarkEntries:
    """In the process that reports: adds the measurements to pytest-benchmark's session."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._entries: dict[str, list[BenchmarkEntry]] = {}
        self._forwarded = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the entries of a test; of several attempts the last one counts."""
        metadata, forwarded = metadata_of(report), vars(report).get(_ATTRIBUTE)
        entries = []
        if forwarded is not None:
            entries.append(fields_from_json(BenchmarkEntry, json.loads(forwarded)))
        self._forwarded = self._forwarded or bool(entries)
        if metadata is not None:
            entries += benchmark_entries(records_of(report), metadata)
        if metadata is not None or entries:
            self._entries[report.nodeid] = entries

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """Add the entries before pytest-benchmark saves, compares and shows them."""
        session = _enabled(self._config)
        entries = [entry for entries in self._entries.values() for entry in entries]
        if session is not None and entries and not obstacle(session):
            # Our own table has the same values: theirs is shown only to users of theirs.
            if not session.benchmarks and not self._forwarded and not _any_option(self._config):
                session.quiet = True
            session.benchmarks.extend(map(make_entry, entries))
        return (yield)


def _enabled(config: pytest.Config) -> BenchmarkSession | None:
    """pytest-benchmark's session, if it is there and not turned off (as under pytest-xdist)."""
    session: BenchmarkSession | None = getattr(config, "_benchmarksession", None)
    return None if getattr(session, "disabled", False) else session


def _any_option(config: pytest.Config) -> bool:
    """Whether any option of pytest-benchmark was given."""
    environment = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    given = (*arguments_given(config), *config.getini("addopts"), *environment)
    return any(argument.startswith("--benchmark-") for argument in given)


def obstacle(session: object) -> str:
    """Why pytest-benchmark's session takes no entries; empty if it does."""
    if not isinstance(getattr(session, "benchmarks", None), list):
        return "its session has no list of benchmarks"
    try:
        match entry := make_entry(_TRIAL).as_dict(include_data=True):
            case {
                "fullname": "trial",
                "extra_info": {"a": 1.0},
                "stats": {"mean": 2.0, "ops": 0.5, "rounds": 2, "data": [1.0, 3.0]},
            }:
                return ""
    except (ImportError, AttributeError, LookupError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return f"an entry became {entry!r:.200}"


def make_entry(entry: BenchmarkEntry) -> BenchmarkRecord:
    """An entry for `BenchmarkSession.benchmarks`.

    Raises:
        ImportError, AttributeError, TypeError: if this pytest-benchmark makes them in another
            way, which `obstacle` finds out beforehand.
    """
    from pytest_benchmark import stats

    metadata: Callable[..., BenchmarkRecord] = stats.Metadata
    fixture = SimpleNamespace(
        name=entry.name,
        fullname=entry.fullname,
        group=entry.group,
        param=entry.param,
        params=entry.params,
        extra_info=dict(entry.extra_info),
        cprofile_stats=None,
        has_error=False,
    )
    made = metadata(fixture, iterations=entry.iterations, options={"timer": _TIMER})
    for seconds in entry.seconds:
        made.update(seconds * entry.iterations)
    return made


def entry_in(fixture: object) -> BenchmarkEntry | None:
    """The entry of a test's fixture `benchmark`; None if it measured nothing, or failed."""
    stats: Any = getattr(fixture, "stats", None)
    if getattr(stats, "has_error", True):
        return None
    try:
        return BenchmarkEntry(
            name=stats.name,
            fullname=stats.fullname,
            group=stats.group,
            param=stats.param,
            params=None if stats.params is None else short_values(stats.params),
            seconds=list(stats.stats.data),
            extra_info=plain_values(stats.extra_info),
            iterations=stats.iterations,
        )
    except AttributeError:
        return None
