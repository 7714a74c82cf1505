"""Bayesian search by Optuna.

Tree-structured Parzen estimators (Bergstra, Bardenet, Bengio and Kegl 2011) with constraints.
Each proposal builds the model anew from the history, so that an interrupted study continues as
it would have.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.tuning.configuration import Configuration
from pytest_dlperf.tuning.search import Search, random_configurations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import optuna

    from pytest_dlperf.tuning.configuration import Knob
    from pytest_dlperf.tuning.goal import Goal, Measured
    from pytest_dlperf.tuning.result import TrialResult

_TRIES: Final = 32  # proposals; the model repeats them where few configurations are left
_STARTUP: Final = 10  # Optuna's default: random trials before the model
_UNKNOWN: Final = 10.0  # violation of a constraint whose metric was not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Bayesian(Search):
    """Configurations that promise a better objective within the constraints of the goal.

    Raises:
        UsageError: if Optuna is not installed.
    """

    goal: Goal

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        try:
            import optuna  # noqa: F401 - whether it is installed
        except ImportError:
            raise UsageError(
                "a bayesian search needs Optuna, which is not installed",
                "pip install 'pytest-dlperf[tune]', or search='random'",
            ) from None

    def candidates(self, history: Sequence[TrialResult]) -> Iterator[Configuration]:
        """Proposals of the model, then random configurations."""
        yield from self._proposals(history)
        yield from random_configurations(self.knobs, self.seed)

    def _proposals(self, history: Sequence[TrialResult]) -> Iterator[Configuration]:
        import optuna

        spaces = {knob.name: _space(knob) for knob in self.knobs}
        with _quiet():
            study = self._study(history, spaces)
        for _ in range(_TRIES):
            with _quiet():
                trial = study.ask(spaces)
            places = trial.params
            yield Configuration(
                {knob.name: _ordered(knob)[places[knob.name]] for knob in self.knobs}
            )
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)

    def _study(
        self,
        history: Sequence[TrialResult],
        spaces: dict[str, optuna.distributions.BaseDistribution],
    ) -> optuna.Study:
        import optuna

        draws = np.random.default_rng([self.seed, len(history)])
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=min(_STARTUP, self.trials // 2),
            seed=int(draws.integers(2**32)),
        )
        study = optuna.create_study(sampler=sampler, direction="minimize")
        base = history[0].measured if history else None
        for trial in history:
            study.add_trial(self._frozen(trial, base, spaces))
        return study

    def _frozen(
        self,
        trial: TrialResult,
        base: Measured | None,
        spaces: dict[str, optuna.distributions.BaseDistribution],
    ) -> optuna.trial.FrozenTrial:
        """A trial as Optuna keeps it; without a result it is pruned, worse than all others."""
        import optuna

        texts = trial.configuration.texts()
        places = {
            knob.name: [str(value) for value in _ordered(knob)].index(texts[knob.name])
            for knob in self.knobs
        }
        measured = trial.measured
        cost = self.goal.cost(trial.metrics)
        if measured is None or not math.isfinite(cost):
            pruned = optuna.trial.TrialState.PRUNED
            return optuna.trial.create_trial(state=pruned, params=places, distributions=spaces)
        broken = {
            f"{number}": _UNKNOWN if slack.excess is None else float(slack.excess)
            for number, slack in enumerate(self.goal.slacks(measured, base))
        }
        return optuna.trial.create_trial(
            value=cost, params=places, distributions=spaces, constraints=broken
        )


def _ordered(knob: Knob) -> tuple[object, ...]:
    """The values of a knob: numbers by their size, anything else as it was given."""
    # A bool is an int to Python, and no size.
    numbers = [
        value for value in knob.values if isinstance(value, int | float) and value is not True
    ]
    if len(numbers) < len(knob.values):
        return knob.values
    return tuple(sorted(numbers, key=float))


def _space(knob: Knob) -> optuna.distributions.BaseDistribution:
    """Indices of the values: an ordered space for numbers, categories for anything else."""
    import optuna

    last = len(knob.values) - 1
    if _ordered(knob) is knob.values:
        return optuna.distributions.CategoricalDistribution(tuple(range(last + 1)))
    return optuna.distributions.IntDistribution(0, last)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log, whose verbosity is global to the process."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
