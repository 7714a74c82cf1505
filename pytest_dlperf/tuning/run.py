"""Tune: what `dlperf.tune(...)` does with a build function, its rows and what is asked for."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.config.options import TUNES
from pytest_dlperf.data.dataset import Examples, Split, parts_of
from pytest_dlperf.errors import DataError, DlperfWarning, UsageError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.results.measurement import title_of
from pytest_dlperf.training.model_cache import cache_key
from pytest_dlperf.tuning.catalogue import parameters_of, suitable
from pytest_dlperf.tuning.configuration import Setup
from pytest_dlperf.tuning.finals import as_it_is
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
class TuningContext:
    """What is the same for all studies of a session.

    Attributes:
        folder: where trained models and trials are kept between runs; None keeps nothing.
        machine: this machine's class, as text.
        overrides: what the command line says of all studies.
        known: all knobs that have a name here.
    """

    folder: Path | None
    machine: str
    overrides: Overrides
    known: Mapping[str, Knob]


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What one call of `dlperf.tune(...)` asks for.

    Attributes:
        test: pytest's node id.
        name: tells several studies of one test apart.
        build: the user's function.
        data: the rows, as the user gave them.
        setup: what there is without tuning; None is everything as it comes.
        knobs: in the place of the marker's; None leaves these.
    """

    test: str
    name: str
    build: Callable[..., object]
    data: object
    setup: Setup | None
    knobs: object


@dataclass(frozen=True, slots=True)
class Means:
    """By what means a study is carried out.

    Attributes:
        bench: time, what the process uses, and the progress line.
        environment: asks for the software of this process.
        coins: a new generator of coins for each comparison.
    """

    bench: Instruments
    environment: Callable[[], Environment]
    coins: Callable[[], np.random.Generator]


def tune(
    asked: TuneRequest, wanted: TuningPlan | None, plan: Plan, studio: TuningContext, means: Means
) -> tuple[Tuned, Record]:
    """Try configurations, have the judge compare the best, and recommend one.

    Returns:
        What was found; and the record of what is recommended, for reports.

    Raises:
        UsageError: if what was asked for makes no sense.
        DataError: if the data cannot be used.
        TargetError: if the setup without tuning cannot be measured.
    """
    if wanted is None:
        raise UsageError(
            f"dlperf.tune(...) needs to be told what for: the test has no {TUNES} marker",
            f"@pytest.mark.{TUNES}('maximize throughput', 'accuracy >= baseline - 0.5pt')",
        )
    split = as_split(asked.data)
    study, trials = _study(asked, wanted, plan, studio)
    clock = means.bench.clock
    begun_ns = clock.now_ns()
    pipeline = Pipeline(
        asked.build,
        split,
        seed=wanted.seed,
        folder=studio.folder / "tuned" if studio.folder else None,
        bench=means.bench,
        warn=_warn,
    )
    search = _search(wanted, study.knobs, trials)
    key = _key(asked, wanted, study, split, studio.machine)
    journal = None if plan.quick else _journal(studio, key)
    explored = explore(study, search, trials, make=pipeline, bench=means.bench, journal=journal)
    judged = (
        ()
        if plan.quick
        else judge_finalists(
            explored, study, wanted.finalists, make=pipeline, bench=means.bench, coins=means.coins
        )
    )
    tuned = concluded(
        test=title_of(asked.test, asked.name),
        goal=study.goal,
        knobs=study.knobs,
        base=study.base,
        trials=explored.trials,
        finalists=[one.finalist for one in judged],
        scenario=str(plan.scenario),
        search=f"{wanted.search}, seed {wanted.seed}",
        seconds=(clock.now_ns() - begun_ns) * 1e-9,
        resumed=explored.resumed,
        notes=_notes(explored.resumed, quick=plan.quick),
    )
    if plan.quick:
        tuned = dataclasses.replace(tuned, reason="a smoke run compares nothing")
    tuned = with_table(tuned)
    for one in judged:
        if one.record is not None and one.finalist is tuned.winner:
            return tuned, one.record
    return tuned, as_it_is(study, pipeline, means.bench, means.environment(), tuned.reason)


def as_split(value: object) -> Split:
    """Read what the user gave as data to learn from and to be asked.

    Args:
        value: an object with `.train` and `.test`, each `(inputs, labels)` or an object with
            `.inputs` and `.labels`.

    Raises:
        DataError: if it is not.
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


def _study(
    asked: TuneRequest, wanted: TuningPlan, plan: Plan, studio: TuningContext
) -> tuple[Study, int]:
    """What is tuned, and how many trials that takes at the most."""
    base = _base(asked.setup, plan)
    given = checked_knobs(asked.knobs, studio.known)
    if given is not None:
        wanted = studio.overrides.on(dataclasses.replace(wanted, knobs=given), studio.known)
    if plan.quick:
        base = dataclasses.replace(base, recipe=dataclasses.replace(base.recipe, epochs=1))
    goal = dataclasses.replace(wanted.goal, constraints=()) if plan.quick else wanted.goal
    parameters = parameters_of(asked.build)
    study = Study(
        test=asked.test,
        name=asked.name,
        goal=goal,
        knobs=suitable(wanted.knobs, studio.known, parameters, base),
        base=base,
        plan=plan,
        seconds=wanted.seconds,
    )
    return study, _QUICK_TRIALS if plan.quick else wanted.trials


def _base(setup: Setup | None, plan: Plan) -> Setup:
    """The setup without tuning; the marker's serving holds where the setup has none of its own."""
    if setup is not None and not isinstance(setup, Setup):
        raise UsageError(f"dlperf.tune(setup={setup!r:.80})", "expected Setup(...)")
    found = setup or Setup()
    if found.serving == Serving():
        return dataclasses.replace(found, serving=plan.serving)
    return found


def _search(wanted: TuningPlan, knobs: tuple[Knob, ...], trials: int) -> Search:
    match wanted.search:
        case "grid":
            return Grid(knobs, trials, wanted.seed)
        case "random":
            return Random(knobs, trials, wanted.seed)
        case "bayesian":
            from pytest_dlperf.tuning.optuna_search import Bayesian

            return Bayesian(knobs, trials, wanted.goal, wanted.seed)


def _journal(studio: TuningContext, key: str) -> Journal | None:
    if studio.folder is None:
        return None
    journal = Journal(studio.folder / "studies" / f"{key}.jsonl", _warn)
    if studio.overrides.fresh:
        journal.forget()
    return journal


def _key(asked: TuneRequest, wanted: TuningPlan, study: Study, split: Split, machine: str) -> str:
    """All that trials depend on: what was tried under another key is tried anew."""
    plan = study.plan
    versions = ("pytest-dlperf", "tensorflow", "keras", "numpy")
    return cache_key(
        build=f"{getattr(asked.build, '__qualname__', '')} {source_hash(asked.build)}",
        data=split_hash(split),
        goal=str(study.goal),
        knobs=[[knob.name, *map(str, knob.values)] for knob in study.knobs],
        base=[study.base.trained, study.base.runtime, str(study.base.serving)],
        load=[str(plan.scenario), plan.clients, plan.devices, plan.slo, study.seconds],
        search=[wanted.search, wanted.seed],
        machine=machine,
        versions={name: importlib.metadata.version(name) for name in versions},
    )


def _notes(resumed: int, *, quick: bool) -> tuple[str, ...]:
    kept = f"{resumed} trial{'s' if resumed > 1 else ''} of an earlier run" if resumed else ""
    brief = "a smoke run: one epoch, an instant of load, and no comparison" if quick else ""
    return tuple(filter(None, (kept, brief)))


def _warn(text: str) -> None:
    warnings.warn(text, DlperfWarning, stacklevel=2)
