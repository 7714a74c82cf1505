"""Runs a study: `dlperf.tune(...)` from its arguments to the recommendation."""

from __future__ import annotations

import importlib.metadata
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf.config.options import TUNES
from pytest_dlperf.data.dataset import Examples, Split, parts_of
from pytest_dlperf.data.scoring import score_function
from pytest_dlperf.errors import DataError, DlperfWarning, UsageError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.results.measurement import title_of
from pytest_dlperf.targets.keras_backend import keras_backend
from pytest_dlperf.training.model_cache import cache_key
from pytest_dlperf.tuning.catalogue import parameters_of, suitable
from pytest_dlperf.tuning.code import answers_code
from pytest_dlperf.tuning.configuration import Setup
from pytest_dlperf.tuning.finals import measure_default
from pytest_dlperf.tuning.journal import Journal
from pytest_dlperf.tuning.pipeline import Pipeline, source_hash, split_hash
from pytest_dlperf.tuning.plan import Overrides, checked_knobs
from pytest_dlperf.tuning.report import with_table
from pytest_dlperf.tuning.screening import Study
from pytest_dlperf.tuning.search import Grid, Random
from pytest_dlperf.tuning.selection import concluded
from pytest_dlperf.tuning.study import explore, judge_finalists

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.tuning.configuration import Knob
    from pytest_dlperf.tuning.plan import TuningPlan
    from pytest_dlperf.tuning.result import Tuned
    from pytest_dlperf.tuning.search import Search

_QUICK_TRIALS: Final = 2


@dataclass(frozen=True, slots=True)
class Tuner:
    """Runs the studies of a session.

    Attributes:
        folder: cache of trained models and trials; None keeps nothing.
        machine: this machine's class, as text.
        overrides: of the command line.
        known: all knobs that have a name in this run.
        instruments: clock, meters and progress display.
        environment: returns the software of this process.
        rng: returns a new random generator for each comparison.
    """

    folder: Path | None
    machine: str
    overrides: Overrides
    known: Mapping[str, Knob]
    instruments: Instruments
    environment: Callable[[], Environment]
    rng: Callable[[], np.random.Generator]

    def tune(  # noqa: PLR0913 - the arguments of `dlperf.tune` and its test
        self,
        build: Callable[..., object],
        data: object,
        tuning_plan: TuningPlan | None,
        plan: Plan,
        *,
        test: str,
        name: str,
        setup: Setup | None,
        knobs: object,
    ) -> tuple[Tuned, Record]:
        """Try configurations, judge the best against the setup without tuning, recommend one.

        The arguments are those of `dlperf.tune`, and the plans of the test's markers. Returns the
        study, and the record of the recommended setup for reports.

        Raises:
            UsageError: for a wrong argument.
            DataError: if the data cannot be used.
            TargetError: if the setup without tuning cannot be measured.
        """
        if tuning_plan is None:
            raise UsageError(
                f"dlperf.tune(...) needs an objective: the test has no {TUNES} marker",
                f"@pytest.mark.{TUNES}('maximize throughput', 'accuracy >= baseline - 0.5pt')",
            )
        split = as_split(data)
        base = _base(setup, plan)
        given = checked_knobs(knobs, self.known)
        if given is not None:
            tuning_plan = self.overrides.on(replace(tuning_plan, knobs=given), self.known)
        goal, trials = tuning_plan.goal, tuning_plan.trials
        if plan.quick:
            base = replace(base, recipe=replace(base.recipe, epochs=1))
            goal, trials = replace(goal, constraints=()), _QUICK_TRIALS
        study = Study(
            test=test,
            name=name,
            goal=goal,
            knobs=suitable(tuning_plan.knobs, self.known, parameters_of(build), base),
            base=base,
            plan=plan,
            seconds=tuning_plan.seconds,
        )
        with self.instruments.without_tracers(plan):
            return self._run(study, build, split, tuning_plan, trials)

    def _run(
        self,
        study: Study,
        build: Callable[..., object],
        split: Split,
        tuning_plan: TuningPlan,
        trials: int,
    ) -> tuple[Tuned, Record]:
        instruments, quick = self.instruments, study.plan.quick
        start_ns = instruments.clock.now_ns()
        pipeline = Pipeline(
            build,
            split,
            seed=tuning_plan.seed,
            folder=self.folder / "tuned" if self.folder else None,
            instruments=instruments,
            warn=_warn,
        )
        explored, resumed = explore(
            study,
            _search(tuning_plan, study.knobs, trials),
            trials,
            make=pipeline,
            instruments=instruments,
            journal=None if quick else self._journal(study, build, split, tuning_plan),
        )
        judged = judge_finalists(
            explored,
            study,
            0 if quick else tuning_plan.finalists,
            make=pipeline,
            instruments=instruments,
            rng=self.rng,
        )
        tuned = concluded(
            test=title_of(study.test, study.name),
            goal=study.goal,
            knobs=study.knobs,
            base=study.base,
            trials=explored,
            finalists=[finalist for finalist, _ in judged],
            scenario=str(study.plan.scenario),
            search=f"{tuning_plan.search}, seed {tuning_plan.seed}",
            seconds=(instruments.clock.now_ns() - start_ns) * 1e-9,
            resumed=resumed,
            notes=_notes(resumed, quick=quick),
            answers=answers_code(study.plan),
        )
        if quick:
            tuned = replace(tuned, reason="a smoke run compares nothing")
        tuned = with_table(tuned)
        for finalist, record in judged:
            if record is not None and finalist is tuned.winner:
                return tuned, record
        record = measure_default(study, pipeline, instruments, self.environment(), tuned.reason)
        return tuned, record

    def _journal(
        self, study: Study, build: Callable[..., object], split: Split, tuning_plan: TuningPlan
    ) -> Journal | None:
        """The journal of this study; its name is a hash of all that trials depend on."""
        if self.folder is None:
            return None
        plan = study.plan
        versions = ("pytest-dlperf", "tensorflow", "keras", "numpy")
        key = cache_key(
            build=f"{getattr(build, '__qualname__', '')} {source_hash(build)}",
            data=split_hash(split),
            goal=str(study.goal),
            knobs=[[knob.name, *map(str, knob.values)] for knob in study.knobs],
            base=[study.base.trained, study.base.runtime, str(study.base.serving)],
            load=[str(plan.scenario), plan.clients, plan.devices, plan.slo, study.seconds],
            answers=[*answers_code(plan), *map(source_hash, _scoring(study))],
            search=[tuning_plan.search, tuning_plan.seed],
            backend=keras_backend(),
            machine=self.machine,
            versions={name: importlib.metadata.version(name) for name in versions},
        )
        journal = Journal(self.folder / "studies" / f"{key}.jsonl", _warn)
        if self.overrides.fresh:
            journal.forget()
        return journal


def _scoring(study: Study) -> list[Callable[..., object]]:
    """The user's functions that score answers: `output=`, and those of metrics."""
    metrics = [study.goal.objective, *(budget.metric for budget in study.goal.constraints)]
    chosen = [study.plan.output] if callable(study.plan.output) else []
    return [*chosen, *(score_function(metric.name) for metric in metrics if metric.by_user)]


def as_split(value: object) -> Split:
    """Read the user's rows: an object with `.train` and `.test`.

    Each is `(inputs, labels)` or an object with `.inputs` and `.labels`.

    Raises:
        DataError: for anything else.
    """
    if isinstance(value, Split):
        return value
    if not (hasattr(value, "train") and hasattr(value, "test")):
        raise DataError(
            f"dlperf.tune(build, data): data of type {type(value).__name__} cannot be used\n"
            "  expected an object with .train and .test, such as Split(train, test)"
        )
    return Split(_examples(value.train, "train"), _examples(value.test, "test"))


def _examples(value: object, what: str) -> Examples:
    if isinstance(value, Examples):
        return value
    parts = parts_of(value)
    if parts is None:
        raise DataError(
            f"dlperf.tune(build, data): data.{what} of type {type(value).__name__} cannot be used\n"
            "  expected (inputs, labels), or an object with .inputs and .labels"
        )
    return Examples(*parts)


def _base(setup: Setup | None, plan: Plan) -> Setup:
    """The setup without tuning; the marker's serving fills in for the default one."""
    if setup is not None and not isinstance(setup, Setup):
        raise UsageError(f"dlperf.tune(setup={setup!r:.80})", "expected Setup(...)")
    base = setup or Setup()
    return replace(base, serving=plan.serving) if base.serving == Serving() else base


def _search(tuning_plan: TuningPlan, knobs: tuple[Knob, ...], trials: int) -> Search:
    match tuning_plan.search:
        case "grid":
            return Grid(knobs, trials, tuning_plan.seed)
        case "random":
            return Random(knobs, trials, tuning_plan.seed)
        case "bayesian":
            from pytest_dlperf.tuning.optuna_search import Bayesian

            return Bayesian(knobs, trials, tuning_plan.seed, goal=tuning_plan.goal)


def _notes(resumed: int, *, quick: bool) -> tuple[str, ...]:
    kept = f"{resumed} trial{'s' if resumed > 1 else ''} of an earlier run" if resumed else ""
    brief = "a smoke run: one epoch, an instant of load, and no comparison" if quick else ""
    return tuple(filter(None, (kept, brief)))


def _warn(text: str) -> None:
    warnings.warn(text, DlperfWarning, stacklevel=2)
