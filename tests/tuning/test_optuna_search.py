"""Optuna's proposals, asked for anew each time."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import pytest
from studies import GOAL, a_knob, a_trial, searched

from pytest_dlperf.errors import UsageError
from pytest_dlperf.tuning.optuna_search import Bayesian
from pytest_dlperf.tuning.result import TrialResult
from pytest_dlperf.tuning.search import Random, combinations_of, made, opening

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_dlperf.tuning.configuration import Configuration

KNOBS = (
    a_knob("units", 512, 32, 64, 128, 256, 1024),
    a_knob("max_batch_size", 64, 8, 16, 32, 128, 256, stage="serving"),
    a_knob("runtime", "tf.function", "xla", "litert", stage="serving"),
    a_knob("learning_rate", 0.001, 0.0001, 0.0003, 0.003, 0.01, stage="training"),
)


def measured(configuration: Configuration) -> TrialResult:
    """Fewer units are faster; below 64 they are not accurate enough. Best: 64, 256 and litert."""
    values = configuration.values
    units, batch = float(str(values["units"])), float(str(values["max_batch_size"]))
    faster = 1.4 if values["runtime"] == "litert" else 1.0
    throughput = 50_000 * (512 / units) ** 0.4 * (batch / 64) ** 0.2 * faster
    off = abs(math.log10(float(str(values["learning_rate"])) / 0.001))
    accuracy = 0.97 - (0.02 if units < 64 else 0.0) - 0.01 * off
    return a_trial(
        configuration, {"throughput": throughput, "accuracy": accuracy, "p99": 64 / throughput}
    )


def best(history: list[TrialResult]) -> float:
    """The throughput of the best trial within the constraints."""
    base = history[0].measured
    return max(
        trial.metrics["throughput"].value
        for trial in history
        if (measured_ := trial.measured)
        and all(slack.holds for slack in GOAL.slacks(measured_, base))
    )


def test_it_finds_more_than_chance() -> None:
    """Over six seeds, 40 of 540 trials find more than as many random ones, on average."""
    seeds = range(6)
    proposed = [best(searched(Bayesian(KNOBS, 40, seed, goal=GOAL), measured)) for seed in seeds]
    by_chance = [best(searched(Random(KNOBS, 40, seed), measured)) for seed in seeds]

    assert combinations_of(KNOBS) == 540
    assert sum(proposed) > 1.05 * sum(by_chance)


def test_it_keeps_to_the_constraints() -> None:
    """What is too inaccurate is the fastest, and is left alone once that is seen."""
    history = searched(Bayesian(KNOBS, 60, 1, goal=GOAL), measured)
    own = history[len(opening(KNOBS, 60)) :]
    broken = sum(trial.configuration.values["units"] == 32 for trial in own)

    assert broken < len(own) / 6


@pytest.mark.parametrize("cut", [0, 3, 9, 15])
def test_it_goes_on_as_if_it_had_not_been_cut_short(cut: int) -> None:
    """Another process with the same trials asks for the very same others."""
    whole = searched(Bayesian(KNOBS, 16, 7, goal=GOAL), measured)
    resumed = whole[:cut]
    anew = Bayesian(KNOBS, 16, 7, goal=GOAL)
    while (configuration := anew.ask(resumed)) is not None:
        resumed.append(measured(configuration))

    assert [trial.configuration for trial in resumed] == [trial.configuration for trial in whole]


def test_all_of_few_combinations() -> None:
    """With trials enough each combination is tried once, and then there is no more."""
    few = (a_knob("units", 512, 64), a_knob("runtime", "tf.function", "xla", "litert"))
    plain = {"learning_rate": 0.001, "max_batch_size": 64}

    def measure(configuration: Configuration) -> TrialResult:
        whole = type(configuration)({**configuration.values, **plain})
        return a_trial(configuration, measured(whole).metrics)

    tried = searched(Bayesian(few, 100, goal=GOAL), measure)

    assert len({trial.configuration for trial in tried}) == len(tried) == 6


def test_what_fails_or_is_impossible() -> None:
    """Neither ends the study; impossible ones do not count, and no trial comes twice."""

    def measure(configuration: Configuration) -> TrialResult:
        match configuration.values["runtime"]:
            case "xla":
                return TrialResult(configuration, skipped="does not go together")
            case "litert":
                return TrialResult(configuration, failed="diverged")
            case _:
                return measured(configuration)

    history = searched(Bayesian(KNOBS, 20, goal=GOAL), measure)

    assert made(history) == 20
    assert len({trial.configuration for trial in history}) == len(history)


def test_nothing_works() -> None:
    """A study in which even the setup without tuning fails ends all the same."""
    history = searched(
        Bayesian(KNOBS, 12, goal=GOAL),
        lambda configuration: TrialResult(configuration, failed="no"),
    )

    assert len(history) == 12


def test_it_says_and_writes_nothing(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna's own messages and files are none of the user's; its verbosity stays as it was."""
    import optuna

    monkeypatch.chdir(tmp_path)
    before = optuna.logging.get_verbosity()
    searched(Bayesian(KNOBS, 14, goal=GOAL), measured)

    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert optuna.logging.get_verbosity() == before


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it is named at once, not when the search begins."""
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(UsageError, match=r"pytest-dlperf\[tune\]"):
        Bayesian(KNOBS, 10, goal=GOAL)
