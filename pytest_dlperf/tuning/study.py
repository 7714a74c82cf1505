"""Study: trials until the search is done, then the comparison of the finalists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import TargetError
from pytest_dlperf.tuning.configuration import configured
from pytest_dlperf.tuning.finals import compared, rates_for
from pytest_dlperf.tuning.result_json import trial_from_json, trial_to_json
from pytest_dlperf.tuning.screening import screened
from pytest_dlperf.tuning.search import made
from pytest_dlperf.tuning.selection import finalists_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.measure.telemetry import Progress
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.tuning.journal import Journal
    from pytest_dlperf.tuning.pipeline import ModelFactory
    from pytest_dlperf.tuning.result import Finalist, TrialResult
    from pytest_dlperf.tuning.screening import Study
    from pytest_dlperf.tuning.search import Search

_MINUTE: Final = 60.0
_LONGEST_LABEL: Final = 40  # characters: half a line


def explore(  # noqa: PLR0913 - a study, its search, and what trials take
    study: Study,
    search: Search,
    trials: int,
    *,
    make: ModelFactory,
    instruments: Instruments,
    journal: Journal | None,
) -> tuple[tuple[TrialResult, ...], int]:
    """Try configurations until the search has no further one.

    Each trial is written to the journal before the next one begins; those of the journal count.
    Returns all trials, the setup without tuning first, and how many of them are the journal's.

    Raises:
        TargetError: if the setup without tuning cannot be measured.
    """
    progress = StudyProgress(instruments.progress)
    instruments = replace(instruments, progress=progress)
    history = list(_journaled(study, journal, trials))
    resumed = len(history)
    default = configured(study.knobs)
    while (configuration := search.ask(history)) is not None:
        progress.stage = f"trial {made(history) + 1} of {trials}{_time_left(history, trials)}"
        progress.show(_shortened(str(configuration)), None)
        result = screened(configuration, study, make, instruments)
        if configuration == default and (result.failed or result.skipped):
            raise TargetError(
                f"the setup without tuning cannot be measured: {result.failed or result.skipped}"
            )
        history.append(result)
        if journal is not None:
            journal.add(trial_to_json(result))
    # Two concurrent runs may have written theirs in any order.
    ordered = sorted(history, key=lambda trial: trial.configuration != default)
    return tuple(ordered), resumed


def judge_finalists(  # noqa: PLR0913 - a study, its trials, and what comparisons take
    trials: Sequence[TrialResult],
    study: Study,
    count: int,
    *,
    make: ModelFactory,
    instruments: Instruments,
    rng: Callable[[], np.random.Generator],
) -> list[tuple[Finalist, Record | None]]:
    """Have the judge compare the `count` best configurations with the setup without tuning.

    Returns what `compared` returns for each finalist; `rng` makes a generator for each comparison.
    """
    chosen = finalists_of(trials, study.goal, count)
    progress = StudyProgress(instruments.progress)
    instruments = replace(instruments, progress=progress)
    rates = rates_for(study, len(chosen))
    judged = []
    for number, configuration in enumerate(chosen, 1):
        progress.stage = f"finalist {number} of {len(chosen)}"
        judged.append(compared(configuration, study, make, instruments, rates=rates, rng=rng()))
    return judged


class StudyProgress:
    """Progress display that puts the stage, such as `trial 2 of 20`, before each phase."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.stage = ""

    def show(self, phase: str, remaining: float | None) -> None:
        """Show the phase without its own time left: the stage tells that of the study."""
        del remaining
        self._progress.show(f"{self.stage}: {phase}" if self.stage else phase, None)


def _journaled(study: Study, journal: Journal | None, trials: int) -> Iterator[TrialResult]:
    """The trials of earlier runs, each configuration once, at most as many as this run makes."""
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


def _time_left(history: Sequence[TrialResult], trials: int) -> str:
    """Expected duration of the remaining trials, from the mean of those made."""
    seconds = [trial.seconds for trial in history if not trial.skipped]
    if not seconds:
        return ""
    left = sum(seconds) / len(seconds) * (trials - made(history))
    return f", {left / _MINUTE:.0f} min left" if left > _MINUTE else f", {left:.0f} s left"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
