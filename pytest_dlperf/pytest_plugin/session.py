"""The session: services that are set up once, and all records."""

from __future__ import annotations

import os
import secrets
import sys
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf.config.baseline_source import FILES
from pytest_dlperf.config.option_values import NO_HISTORY
from pytest_dlperf.errors import DlperfWarning, UsageError
from pytest_dlperf.pytest_plugin import second_look
from pytest_dlperf.pytest_plugin.history_recorder import HistoryRecorder, history_location
from pytest_dlperf.pytest_plugin.options import (
    SIDE,
    arguments_given,
    finds_modules_here,
    paths_given,
    run_options,
)
from pytest_dlperf.pytest_plugin.tuning import OVERRIDES, known_knobs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from pytest_dlperf.baselines.source import BaselineProvider
    from pytest_dlperf.baselines.suspicion import SecondLook
    from pytest_dlperf.duel.escalation import Escalation
    from pytest_dlperf.judge.error_rates import AlphaSpending, ErrorRates
    from pytest_dlperf.judge.machine_noise import MachineNoise, PastMeasurement
    from pytest_dlperf.measure.evaluator import Evaluator
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.pytest_plugin.duel_worker import DuelWorkerPlugin
    from pytest_dlperf.report.progress import LineProgress, NoProgress
    from pytest_dlperf.results.baseline_session import Revision
    from pytest_dlperf.results.environment import Environment, MachineClass
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.tuning.run import Tuner


_MOST_FILES: Final = 200  # baselines that show what sessions differ by
_CI_GUARD: Final = "not recorded in CI; --dlperf-update-in-ci allows it"
_REST_NS: Final = 1_000_000_000  # before a second measurement
_XDIST: Final = (
    "nothing can be measured while {workers} pytest-xdist workers share the machine\n"
    "  run with -n0 (or -n1), or with --dlperf-quick for a smoke run"
)


class DlperfSession:
    """One pytest session."""

    def __init__(self, config: pytest.Config, variables: Mapping[str, str]) -> None:
        self._config = config
        self._variables = variables
        self.options = run_options(config)
        if self.is_second_look:
            self.options = replace(self.options, update=None, baseline=FILES, history=NO_HISTORY)
        if self.options.quick and self.options.update:
            raise pytest.UsageError(
                "a smoke run (dlperf-quick) measures too briefly for a baseline (dlperf-update): "
                "choose one"
            )
        if self.options.only and self.options.skip:
            raise pytest.UsageError("dlperf-only and dlperf-skip together leave no test")
        self._records: dict[str, list[Record]] = {}
        self._duels = 0
        self._spending: dict[str, AlphaSpending] = {}
        self.budgets = 1
        """Number of relative budgets of this run; the error rate is split over them."""
        self.progress = self._make_progress()
        self.history_recorder = self._make_history_recorder()
        """Records the measurements; None without a history."""

    @cached_property
    def instruments(self) -> Instruments:
        """Clock, meters and progress display of all measurements."""
        from pytest_dlperf.clock import MonotonicClock
        from pytest_dlperf.measure.gpu_driver import find_gpus
        from pytest_dlperf.measure.prepared import Instruments
        from pytest_dlperf.measure.telemetry import ProcessMeter

        return Instruments(MonotonicClock(), ProcessMeter(), self.progress, find_gpus())

    @cached_property
    def evaluator(self) -> Evaluator:
        """Measures and judges for all tests."""
        if self.side is not None:
            return self.side.evaluator
        from pytest_dlperf.baselines.evaluate import BaselineEvaluator, MeasuringEvaluator
        from pytest_dlperf.clock import MonotonicClock
        from pytest_dlperf.git import reachable
        from pytest_dlperf.measure.yardstick import Yardstick

        options, root, clock = self.options, self._config.rootpath, MonotonicClock()
        if self.is_second_look:
            return MeasuringEvaluator(self.environment, lambda: Yardstick(clock))
        return BaselineEvaluator(
            baselines=self.baselines,
            environment=self.environment,
            revision=lambda: self.revision,
            update=options.update,
            rates=self.error_rates,
            spending=self.alpha_spending,
            yardstick=lambda: Yardstick(clock),
            rest=self._rest,
            reachable=lambda commit: reachable(root, commit),
            noise=lambda: self.noise,
            second=self._second_look(),
        )

    @cached_property
    def is_second_look(self) -> bool:
        """Whether this process measures for another one, which judges and records."""
        return self._config.pluginmanager.has_plugin(second_look.__name__)

    @cached_property
    def noise(self) -> MachineNoise:
        """What sessions of this machine class differ by, as the history and the baselines say."""
        from pytest_dlperf.baselines.files import FOLDER, all_files, read_each
        from pytest_dlperf.baselines.past import joined, past_of
        from pytest_dlperf.errors import HistoryError
        from pytest_dlperf.judge.machine_noise import MachineNoise

        recorded: tuple[PastMeasurement, ...] = ()
        if self.history_recorder is not None:
            # An unusable history is reported where this run is recorded.
            with suppress(HistoryError, UsageError):
                recorded = self.history_recorder.history().past(self.machine.slug)
        files = [
            path
            for path in all_files(self._config.rootpath / FOLDER)
            if path.parent.name == self.machine.slug
        ]
        accepted, _ = read_each(files[:_MOST_FILES])
        return MachineNoise(joined(recorded, past_of(accepted.values())))

    def _second_look(self) -> SecondLook:
        from pytest_dlperf.baselines.suspicion import SecondLook

        return SecondLook(
            policy=self.options.escalate or "auto",
            duel=self._duel,
            again=self._measure_again,
            present=lambda: self.revision.commit,
        )

    @property
    def obstacle(self) -> str:
        """Why this process must not measure; empty if it may."""
        workers = getattr(self._config, "workerinput", {}).get("workercount", 1)
        if workers > 1 and not self.options.quick:
            return _XDIST.format(workers=workers)
        return ""

    @property
    def reports_elsewhere(self) -> bool:
        """Whether another process reports: of a worker of pytest-xdist, or a side of a duel."""
        return self.side is not None or hasattr(self._config, "workerinput")

    def environment(self) -> Environment:
        """The software of this process, and what still traced it while it measured last."""
        from pytest_dlperf.machine import environment

        here, left = environment(), self.instruments.instrumentation.left
        both = ", ".join(filter(None, (here.instrumentation, left)))
        return replace(here, instrumentation=both)

    def _duel(self, test: str, commit: str) -> dict[str, Record]:
        """Measure a test in a duel against a commit, in another process."""
        self.progress.show(f"measuring in turn with {commit[:8]}", None)
        return self._escalation().duel(test, commit)

    def _measure_again(self, test: str) -> dict[str, Record]:
        """Measure a test in a fresh process."""
        self.progress.show("measuring again in a fresh process", None)
        return self._escalation().again(test)

    def _escalation(self) -> Escalation:
        from pytest_dlperf.duel.escalation import Escalation, carried_over

        config = self._config
        return Escalation(
            folder=config.invocation_params.dir,
            root=config.rootpath,
            options=carried_over(arguments_given(config), paths_given(config)),
            in_path=finds_modules_here(),
            variables=self._variables,
            budgets=self.budgets,
        )

    def error_rates(self) -> ErrorRates:
        """The error rates of each relative budget."""
        from pytest_dlperf.judge.error_rates import ErrorRates

        return ErrorRates(self.budgets)

    def alpha_spending(self, test: str) -> AlphaSpending:
        """How a test divides the error rates of its budgets among its measurements."""
        from pytest_dlperf.judge.error_rates import AlphaSpending

        return self._spending.setdefault(test, AlphaSpending())

    def _rest(self) -> None:
        clock = self.instruments.clock
        self.progress.show("measuring again", None)
        clock.sleep_until_ns(clock.now_ns() + _REST_NS)

    def coins(self) -> np.random.Generator:
        """A new random generator for each duel, derived from the session's seed."""
        import numpy as np

        self._duels += 1
        return np.random.default_rng((self.seed, self._duels))

    @cached_property
    def tuner(self) -> Tuner:
        """Runs the studies of all tests that tune."""
        from pytest_dlperf.tuning.plan import Overrides
        from pytest_dlperf.tuning.run import Tuner

        return Tuner(
            folder=self.cache_folder,
            machine=self.machine.slug,
            overrides=self._config.stash.get(OVERRIDES, Overrides()),
            known=known_knobs(self._config),
            instruments=self.instruments,
            environment=self.environment,
            rng=self.coins,
        )

    @cached_property
    def seed(self) -> int:
        """Seed of the random order of blocks; drawn unless it is given."""
        given = self.options.seed
        return secrets.randbits(32) if given is None else given

    @cached_property
    def side(self) -> DuelWorkerPlugin | None:
        """The plugin of a duel's worker, if this process is one."""
        side: DuelWorkerPlugin | None = self._config.pluginmanager.get_plugin(SIDE)
        return side

    @property
    def leads_duel(self) -> bool:
        """Whether this process is the controller of a duel, and its workers run the tests."""
        return bool(self.options.against) and self.side is None

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The devices of this machine; starts TensorFlow."""
        from pytest_dlperf.targets import local_devices

        return local_devices.devices_here()

    @cached_property
    def cache_folder(self) -> Path | None:
        """Where trained models are kept between sessions; None without pytest's cache."""
        if self.side is not None:
            return self.side.cache
        cache = getattr(self._config, "cache", None)
        if cache is None:
            return None
        try:
            folder: Path = cache.mkdir("dlperf")
        except OSError as error:
            self.warn(f"pytest's cache cannot be used, so trained models are not kept: {error}")
            return None
        return folder

    def warn(self, text: str) -> None:
        """Warn that a convenience fails: never an error, also where `filterwarnings` makes some."""
        # With an empty line, as there is no source to show.
        warning = DlperfWarning(text)
        message = warnings.WarningMessage(warning, DlperfWarning, "pytest-dlperf", 0, line="")
        self._config.hook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": message,
                "when": "runtest",
                "nodeid": "",
                "location": None,
            }
        )

    @cached_property
    def machine(self) -> MachineClass:
        """This machine's class."""
        from pytest_dlperf.machine import machine_class

        return machine_class()

    @cached_property
    def baselines(self) -> BaselineProvider:
        """Where baselines come from.

        Raises:
            UsageError: if the source is not available here, such as a branch point without git.
        """
        from pytest_dlperf.baselines.acceptance import in_ci
        from pytest_dlperf.baselines.source import baselines_of_files, baselines_of_history

        source, root = self.options.baseline, self._config.rootpath
        if source is None or not source.in_history or self.options.quick:
            guarded = in_ci(self._variables) and not self.options.update_in_ci
            return baselines_of_files(root, self.machine, _CI_GUARD if guarded else "")
        if self.history_recorder is None:
            raise UsageError(
                f"dlperf-baseline={source} takes baselines from the history, and dlperf-history is "
                "none",
                "name a database, or take baselines from files",
            )
        run, history = self.history_recorder.run(), self.history_recorder.history
        return baselines_of_history(source, run, history, root, self._variables)

    @cached_property
    def revision(self) -> Revision:
        """The commit that is measured, and its date."""
        from pytest_dlperf.git import current_revision

        return current_revision(self._config.rootpath, self._variables)

    @property
    def records(self) -> list[Record]:
        """All records so far, in the order of the tests."""
        return [record for records in self._records.values() for record in records]

    def add(self, test: str, records: list[Record]) -> None:
        """Take the records of a test; of several attempts the last one counts."""
        self._records[test] = records

    def without_commit(self) -> str:
        """A warning that measurements were recorded without a commit; empty if none were."""
        from pytest_dlperf.git import in_repository, why_no_commit

        root = self._config.rootpath
        accepted = any(record.kept for record in self.records)
        recorded = self.history_recorder is not None and not self.options.quick
        # Whoever uses no git knows; but a baseline is for others too.
        wanted = accepted or (recorded and in_repository(root))
        if self.leads_duel or not wanted or self.revision.commit:
            return ""
        what = "the baseline" if accepted else "the history"
        return f"{what} does not say which commit was measured: {why_no_commit(root)}"

    def _make_history_recorder(self) -> HistoryRecorder | None:
        try:
            location = history_location(self.options, self._variables, self._config.rootpath)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        if location is None:
            return None
        # Registered as a plugin only where records are reported, see `pytest_configure`.
        return HistoryRecorder(location, lambda: self.machine, lambda: self.revision)

    def _make_progress(self) -> LineProgress | NoProgress:
        from pytest_dlperf.report.progress import LineProgress, NoProgress

        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or not sys.stdout.isatty():  # as in a worker of whatever kind
            return NoProgress()
        writer = reporter._tw  # noqa: SLF001 - the only way to what is on the line already
        try:
            # A copy of the terminal: while tests run, pytest captures the original.
            terminal = os.dup(sys.stdout.fileno())
        except OSError:  # a stand-in for a terminal, without a file descriptor
            return NoProgress()
        return LineProgress(terminal, lambda: writer.fullwidth - writer.width_of_current_line)


KEY: Final = pytest.StashKey[DlperfSession]()
