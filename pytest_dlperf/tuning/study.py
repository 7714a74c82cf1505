"""Study: trial after trial until the search has had enough, then the finals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import TargetError
from pytest_dlperf.tuning.configuration import configured
from pytest_dlperf.tuning.finals import compared, rates_for
from pytest_dlperf.tuning.result import TrialResult, trial_from_json, trial_to_json
from pytest_dlperf.tuning.screening import screened
from pytest_dlperf.tuning.search import made
from pytest_dlperf.tuning.selection import finalists_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.measure.telemetry import Progress
    from pytest_dlperf.tuning.finals import JudgedFinalist
    from pytest_dlperf.tuning.journal import Journal
    from pytest_dlperf.tuning.pipeline import ModelFactory
    from pytest_dlperf.tuning.screening import Study
    from pytest_dlperf.tuning.search import Search

_MINUTE: Final = 60.0


class StudyProgress:
    """Progress that says what the study is at, before what it is doing there.

    Args:
        progress: somebody to tell.

    Attributes:
        text: what the study is at.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.text = ""

    def show(self, phase: str, remaining: float | None) -> None:
        """Tell; the time left is the study's, so that of a phase is left out."""
        del remaining
        self._progress.show(f"{self.text}: {phase}" if self.text else phase, None)


@dataclass(frozen=True, slots=True)
class Explored:
    """All trials of a study.

    Attributes:
        trials: in their order; the first is the setup without tuning.
        resumed: how many of them an earlier run had made.
    """

    trials: tuple[TrialResult, ...]
    resumed: int


def explore(  # noqa: PLR0913 - what, how many, and by what means
    study: Study,
    search: Search,
    trials: int,
    *,
    make: ModelFactory,
    bench: Instruments,
    journal: Journal | None,
) -> Explored:
    """Try configurations until the search has no further one.

    Each trial is written down before the next one begins; those that are there already count.

    Args:
        study: what is tuned.
        search: chooses.
        trials: how many there will be at the most, for the progress.
        make: makes what a setup describes.
        bench: what comes from outside; a headline is put before its progress.
        journal: of the study; None keeps nothing.

    Raises:
        TargetError: if the setup without tuning cannot be measured.
    """
    headline = StudyProgress(bench.progress)
    bench = replace(bench, progress=headline)
    history = list(_remembered(study, journal, trials))
    resumed = len(history)
    default = configured(study.knobs)
    while (configuration := search.ask(history)) is not None:
        left = _left(history, trials)
        headline.text = f"trial {made(history) + 1} of {trials}{left}"
        headline.show(_brief(str(configuration)), None)
        result = screened(configuration, study, make, bench)
        if configuration == default and (result.failed or result.skipped):
            raise TargetError(
                f"the setup without tuning cannot be measured: {result.failed or result.skipped}"
            )
        history.append(result)
        if journal is not None:
            journal.add(trial_to_json(result))
    # Two runs at once may have written theirs in any order.
    ordered = sorted(history, key=lambda trial: trial.configuration != default)
    return Explored(tuple(ordered), resumed)


def _remembered(study: Study, journal: Journal | None, trials: int) -> Iterator[TrialResult]:
    """The trials of earlier runs, each configuration once, no more than are wanted now."""
    seen = set()
    count = 0
    for fields in journal.lines() if journal is not None else ():
        try:
            trial = trial_from_json(fields, study.knobs)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # of other values, or damaged: it is tried again
        if trial.configuration in seen or count + (not trial.skipped) > trials:
            continue
        seen.add(trial.configuration)
        count += not trial.skipped
        yield trial


def _left(history: Sequence[TrialResult], trials: int) -> str:
    """How long the trials that are left will take, if they are as those before; in words."""
    took = [trial.seconds for trial in history if not trial.skipped]
    if not took:
        return ""
    seconds = sum(took) / len(took) * (trials - made(history))
    return f", {seconds / _MINUTE:.0f} min left" if seconds > _MINUTE else f", {seconds:.0f} s left"


def _brief(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"  # noqa: PLR2004 - half a line


def judge_finalists(  # noqa: PLR0913 - who, for what, and by what means
    explored: Explored,
    study: Study,
    count: int,
    *,
    make: ModelFactory,
    bench: Instruments,
    coins: Callable[[], np.random.Generator],
) -> tuple[JudgedFinalist, ...]:
    """Have the judge compare the best configurations with the setup without tuning.

    Args:
        explored: all trials.
        study: what is tuned.
        count: the most to compare.
        make: makes what a setup describes.
        bench: what comes from outside.
        coins: new ones for each comparison.
    """
    chosen = finalists_of(explored.trials, study.goal, count)
    headline = StudyProgress(bench.progress)
    bench = replace(bench, progress=headline)
    rates = rates_for(study, len(chosen))
    found = []
    for number, configuration in enumerate(chosen, 1):
        headline.text = f"finalist {number} of {len(chosen)}"
        found.append(compared(configuration, study, make, bench, rates=rates, coins=coins()))
    return tuple(found)
