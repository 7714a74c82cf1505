"""Studies: trial after trial, ended and resumed, and the best before the judge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FakeClock, FakeProgress, fake_instruments
from workshop import Workshop, argument, batch, study

from pytest_dlperf.errors import TargetError
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.tuning.finals import rates_for
from pytest_dlperf.tuning.journal import Journal
from pytest_dlperf.tuning.result_json import trial_to_json
from pytest_dlperf.tuning.search import Grid, Random
from pytest_dlperf.tuning.selection import concluded
from pytest_dlperf.tuning.study import explore, judge_finalists

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_dlperf.tuning.result import TrialResult, Tuned
    from pytest_dlperf.tuning.screening import Study


WORK = argument("work", 1.0, 0.5, 2.0)
WRONG = argument("wrong", 0, 30)
PAIRED = ("maximize throughput", "accuracy >= baseline - 0.5pt")


def journal(path: Path) -> Journal:
    """One that must not complain."""
    return Journal(path, pytest.fail)


def explored(
    a_study: Study, trials: int, workshop: Workshop, kept: Journal | None
) -> tuple[tuple[TrialResult, ...], int]:
    """All trials, by a search of all combinations."""
    search = Grid(a_study.knobs, trials)
    bench = fake_instruments(workshop.clock)
    return explore(a_study, search, trials, make=workshop, instruments=bench, journal=kept)


def tuned(a_study: Study, count: int, finalists: int = 3) -> Tuned:
    """A whole study without a journal."""
    workshop = Workshop(FakeClock())
    bench = fake_instruments(workshop.clock)
    trials, _ = explored(a_study, count, workshop, None)
    coins = iter(range(100))
    judged = judge_finalists(
        trials,
        a_study,
        finalists,
        make=workshop,
        instruments=bench,
        rng=lambda: np.random.default_rng(next(coins)),
    )
    return concluded(
        test="test",
        goal=a_study.goal,
        knobs=a_study.knobs,
        base=a_study.base,
        trials=trials,
        finalists=[finalist for finalist, _ in judged],
        scenario="ClosedLoop(clients=8)",
        search="grid, seed 0",
        seconds=1.0,
    )


def test_all_combinations_are_tried_the_default_first(tmp_path: Path) -> None:
    """Six combinations, each once; a run that was not cut short resumes nothing."""
    trials, resumed = explored(
        study(WORK, WRONG), 20, Workshop(FakeClock()), journal(tmp_path / "study")
    )

    assert resumed == 0
    assert len({trial.configuration for trial in trials}) == len(trials) == 6
    assert trials[0].configuration.values == {"work": 1.0, "wrong": 0}


class Killed(BaseException):
    """What ends a process at once."""


def test_a_run_that_is_cut_short_goes_on_where_it_was(tmp_path: Path) -> None:
    """Ended in the third trial, with half a line written of it: the next run makes the rest.

    It comes to the same trials as a run that was never cut short.
    """
    a_study, path = study(WORK, WRONG), tmp_path / "study"

    class Dies(Workshop):
        def __call__(self, setup):  # noqa: ANN001, ANN204 - as its base
            if len(self.made) == 2:
                raise Killed
            return super().__call__(setup)

    with pytest.raises(Killed):
        explored(a_study, 6, Dies(FakeClock()), journal(path))
    with path.open("ab") as file:
        file.write(b'{"version": 1, "configuration": {"wo')

    workshop = Workshop(FakeClock())
    trials, resumed = explored(a_study, 6, workshop, journal(path))
    whole, _ = explored(a_study, 6, Workshop(FakeClock()), None)

    assert resumed == 2
    assert len(workshop.made) == 4
    assert [trial.configuration for trial in trials] == [trial.configuration for trial in whole]
    assert all(trial.metrics["throughput"].value > 0 for trial in trials)


def test_a_run_that_is_whole_makes_nothing_again(tmp_path: Path) -> None:
    """The second time there are the same trials, to the last digit, and nothing is made."""
    a_study, path = study(WORK, WRONG), tmp_path / "study"
    first, _ = explored(a_study, 6, Workshop(FakeClock()), journal(path))
    workshop = Workshop(FakeClock())
    second, resumed = explored(a_study, 6, workshop, journal(path))

    assert resumed == 6
    assert workshop.made == []
    assert list(map(trial_to_json, second)) == list(map(trial_to_json, first))


def test_fewer_trials_than_there_are_take_the_first(tmp_path: Path) -> None:
    """Asked for two after six were made: two."""
    a_study, path = study(WORK, WRONG), tmp_path / "study"
    explored(a_study, 6, Workshop(FakeClock()), journal(path))

    assert len(explored(a_study, 2, Workshop(FakeClock()), journal(path))[0]) == 2


def test_trials_of_two_runs_at_once_count_once(tmp_path: Path) -> None:
    """Two that were started together write each trial twice, and the default not first."""
    a_study, path = study(WORK, WRONG), tmp_path / "study"
    written, _ = explored(a_study, 6, Workshop(FakeClock()), None)
    kept = journal(path)
    for trial in (written[3], written[0], written[3], written[0]):
        kept.add(trial_to_json(trial))

    trials, resumed = explored(a_study, 6, Workshop(FakeClock()), kept)

    assert resumed == 2
    assert len({trial.configuration for trial in trials}) == len(trials) == 6
    assert trials[0].configuration == written[0].configuration


def test_a_bad_configuration_does_not_end_the_study() -> None:
    """The one that diverges fails with its reason; the others are measured."""
    trials, _ = explored(
        study(WORK, argument("broken", "no", "yes")), 6, Workshop(FakeClock()), None
    )

    failed = [trial for trial in trials if trial.failed]
    assert len(trials) == 6
    assert {trial.configuration.values["broken"] for trial in failed} == {"yes"}
    assert len(failed) == 3


def test_without_a_default_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    """If the setup without tuning fails, so does the study, and it is not kept as a trial."""
    path = tmp_path / "study"

    with pytest.raises(TargetError, match="without tuning cannot be measured: training diverged"):
        explored(study(argument("broken", "yes", "no")), 2, Workshop(FakeClock()), journal(path))

    assert journal(path).lines() == ()


def test_progress_tells_how_far_it_is_and_what_is_left() -> None:
    """The number of the trial, of how many, and from the second one on the time left."""
    workshop = Workshop(FakeClock())
    progress = FakeProgress()
    bench = replace(fake_instruments(workshop.clock), progress=progress)
    a_study = study(WORK)
    explore(a_study, Random(a_study.knobs, 3), 3, make=workshop, instruments=bench, journal=None)

    first = [phase for phase in progress.phases if phase.startswith("trial 1 of 3: ")]
    second = [phase for phase in progress.phases if phase.startswith("trial 2 of 3, ")]
    assert first
    assert second
    assert all(" left: " in phase for phase in second)


def test_the_better_one_is_proven_and_recommended() -> None:
    """Half the work: twice the throughput, within the interval of a proven verdict."""
    study_ = tuned(study(WORK, goal=PAIRED), 3)

    assert study_.recommended.values == {"work": 0.5}
    winner = study_.winner
    assert winner is not None
    assert winner.verdict is Verdict.PASS
    assert winner.gain is not None
    assert winner.gain.low > 1
    assert winner.gain.value == pytest.approx(2.0, rel=0.05)
    assert {judgement.budget for judgement in winner.judgements} == {
        "throughput > baseline",
        "accuracy >= baseline - 0.5pt",
        "errors == 0",
    }


def test_faster_but_less_accurate_is_not_recommended() -> None:
    """Half the work at 15 points of accuracy breaks the constraint, so it is no finalist."""
    cheap = argument("wrong", 0, 30)

    def linked(setup, value):  # noqa: ANN001, ANN202 - a knob's function
        work = 0.5 if value else 1.0
        return replace(setup, arguments={"wrong": value, "work": work})

    study_ = tuned(study(replace(cheap, apply=linked), goal=PAIRED), 2)

    assert not study_.improved
    assert (
        study_.trials[1].metrics["throughput"].value > study_.trials[0].metrics["throughput"].value
    )


def test_what_is_not_better_is_not_recommended() -> None:
    """The same work in other words: nothing is proven, so the default stays."""
    study_ = tuned(study(argument("name", "a", "b"), goal=PAIRED), 2)

    assert not study_.improved
    assert study_.recommended.values == {"name": "a"}
    assert all(finalist.verdict is not Verdict.PASS for finalist in study_.finalists)


def test_finalists_may_be_served_in_another_way() -> None:
    """Batches of eight against batches of one, eight clients: eight times the throughput."""
    study_ = tuned(study(batch(1, 8), goal=PAIRED), 2)

    assert study_.recommended.values == {"batch": 8}
    assert study_.winner is not None
    assert study_.winner.gain is not None
    assert study_.winner.gain.value == pytest.approx(8.0, rel=0.1)


def test_a_comparison_that_comes_to_nothing_is_told() -> None:
    """A model that cannot be made again is no winner, and ends nothing."""
    workshop = Workshop(FakeClock())
    a_study = study(WORK)
    trials, _ = explored(a_study, 3, workshop, None)

    def broken(setup: object) -> None:
        raise OSError(f"disk full: {setup}"[:9])

    ((finalist, record), *_) = judge_finalists(
        trials,
        a_study,
        3,
        make=broken,
        instruments=fake_instruments(workshop.clock),
        rng=lambda: np.random.default_rng(0),
    )

    assert finalist.verdict is Verdict.INVALID
    assert finalist.reason == "the comparison failed: OSError: disk full"
    assert record is None


def test_the_error_rate_is_split_over_all_comparisons() -> None:
    """Three finalists, each asked for a gain and one relative constraint: six claims."""
    rates = rates_for(study(WORK, goal=(*PAIRED, "p99 <= 20ms")), 3)

    assert rates.budgets == 6
    assert rates.stored == pytest.approx(0.01 / 6)
