"""Searches: which configuration to try next."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies import a_knob, a_trial, searched

from pytest_dlperf.tuning.configuration import configured
from pytest_dlperf.tuning.result import TrialResult
from pytest_dlperf.tuning.search import (
    Grid,
    Random,
    combinations_of,
    made,
    opening,
    random_configurations,
)

if TYPE_CHECKING:
    from pytest_dlperf.tuning.configuration import Configuration, Knob

UNITS = a_knob("units", 512, 256, 128)
BATCH = a_knob("max_batch_size", 64, 128, stage="serving")
RUNTIME = a_knob("runtime", "tf.function", "xla", "litert", "onnx", stage="serving")
KNOBS = (UNITS, BATCH, RUNTIME)
SEARCHES = pytest.mark.parametrize("kind", [Grid, Random])


def measured(configuration: Configuration) -> TrialResult:
    """Any figure."""
    return a_trial(configuration, {"throughput": 1000.0})


def texts(trials: list[TrialResult]) -> list[str]:
    """What was tried, in order."""
    return [str(trial.configuration) for trial in trials]


def test_the_opening() -> None:
    """Without tuning, then one change at a time: each knob's first, then each one's second."""
    default = configured(KNOBS)
    configurations = opening(KNOBS, 10)

    assert configurations[0] == default
    assert [configuration.differences(default) for configuration in configurations[1:]] == [
        {"units": 256},
        {"max_batch_size": 128},
        {"runtime": "xla"},
        {"units": 128},
        {"runtime": "litert"},
    ]


@pytest.mark.parametrize(("trials", "changes"), [(1, 0), (2, 1), (5, 2), (20, 6), (100, 6)])
def test_the_opening_takes_half_of_the_trials_at_most(trials: int, changes: int) -> None:
    """What a search may choose itself is at least half; there are six single changes in all."""
    assert len(opening(KNOBS, trials)) == 1 + changes


@SEARCHES
def test_all_of_few_combinations(kind: type[Grid | Random]) -> None:
    """With trials enough, each of the 24 combinations is tried once, and then there is no more."""
    tried = texts(searched(kind(KNOBS, 1000), measured))

    assert combinations_of(KNOBS) == 24
    assert len(tried) == len(set(tried)) == 24


@SEARCHES
@pytest.mark.parametrize("trials", [1, 2, 7, 23])
def test_no_more_than_the_trials(kind: type[Grid | Random], trials: int) -> None:
    """As many as were allowed, no two alike, the setup without tuning first."""
    tried = texts(searched(kind(KNOBS, trials), measured))

    assert len(tried) == len(set(tried)) == trials
    assert tried[0] == str(configured(KNOBS))


@SEARCHES
@given(seed=st.integers(0, 2**63 - 1), cut=st.integers(0, 12))
def test_a_search_goes_on_as_if_it_had_not_been_cut_short(
    kind: type[Grid | Random], seed: int, cut: int
) -> None:
    """Another process with the same seed and the first trials asks for the very same others."""
    whole = searched(kind(KNOBS, 12, seed), measured)
    resumed = whole[:cut]
    anew = kind(KNOBS, 12, seed)
    while (configuration := anew.ask(resumed)) is not None:
        resumed.append(measured(configuration))

    assert texts(resumed) == texts(whole)


@SEARCHES
def test_seeds_differ(kind: type[Grid | Random]) -> None:
    """Another seed tries others."""
    assert len({tuple(texts(searched(kind(KNOBS, 12, seed), measured))) for seed in range(4)}) > 1


@SEARCHES
def test_impossible_configurations_do_not_count(kind: type[Grid | Random]) -> None:
    """What was skipped is not asked for again, and another one is tried in its place."""

    def half(configuration: Configuration) -> TrialResult:
        if configuration.values["runtime"] in {"xla", "onnx"}:
            return TrialResult(configuration, skipped="does not go together")
        return measured(configuration)

    history = searched(kind(KNOBS, 8), half)

    assert made(history) == 8
    assert len(set(texts(history))) == len(history) > 8


@SEARCHES
def test_failed_trials_count(kind: type[Grid | Random]) -> None:
    """A search ends even if nothing works."""
    history = searched(
        kind(KNOBS, 8), lambda configuration: TrialResult(configuration, failed="diverged")
    )

    assert len(history) == 8


def test_a_grid_spreads_evenly() -> None:
    """Of 4,096 combinations 65 are tried; of those that are its own, each value is in a quarter."""
    knobs: tuple[Knob, ...] = tuple(a_knob(name, 0, 1, 2, 3) for name in "abcdef")
    history = searched(Grid(knobs, 65), measured)
    own = history[len(opening(knobs, 65)) :]

    assert len(own) == 46
    for knob in knobs:
        counts = Counter(trial.configuration.values[knob.name] for trial in own)
        assert max(counts.values()) - min(counts.values()) <= 2


def test_chance_is_fair() -> None:
    """Random configurations have every value about as often as any other."""
    knobs: tuple[Knob, ...] = tuple(a_knob(name, 0, 1, 2, 3) for name in "abcdefgh")
    drawn = list(itertools.islice(random_configurations(knobs, 0), 800))

    for knob in knobs:
        counts = Counter(configuration.values[knob.name] for configuration in drawn)
        # Each value in a quarter of the draws, within four standard deviations.
        assert all(abs(count - 200) < 4 * (800 * 3 / 16) ** 0.5 for count in counts.values())


@SEARCHES
def test_no_knobs(kind: type[Grid | Random]) -> None:
    """There is one setup then, and it is tried."""
    assert texts(searched(kind((), 10), measured)) == [""]
