"""Search: the order in which configurations are tried.

Every search starts with the setup without tuning, then one change at a time (at most half of
the trials), so that the effect of each knob can be estimated.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from pytest_dlperf.tuning.configuration import Configuration, configured

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_dlperf.tuning.configuration import Knob
    from pytest_dlperf.tuning.result import TrialResult

SearchName: TypeAlias = Literal["grid", "random", "bayesian"]

_DRAWS: Final = 1000  # candidates of a search; then the untried configurations are enumerated


@dataclass(frozen=True, slots=True)
class Search(ABC):
    """Chooses the next configuration, from the trials so far alone.

    So an interrupted run continues as it would have.

    Attributes:
        knobs: of the study.
        trials: the most to make.
        seed: of the random order or draws.
    """

    knobs: tuple[Knob, ...]
    trials: int
    seed: int = 0

    def ask(self, history: Sequence[TrialResult]) -> Configuration | None:
        """The next configuration; none that was tried or found impossible before.

        Candidates of the search follow the opening; if the first thousand have all been tried, any
        untried configuration follows. None once all trials are made, or nothing is left to try.
        """
        tried = {trial.configuration for trial in history}
        if made(history) >= self.trials or len(tried) >= combinations_of(self.knobs):
            return None
        configurations = itertools.chain(
            opening(self.knobs, self.trials),
            itertools.islice(self.candidates(history), _DRAWS),
            _all_of(self.knobs),
        )
        return next((each for each in configurations if each not in tried), None)

    @abstractmethod
    def candidates(self, history: Sequence[TrialResult]) -> Iterator[Configuration]:
        """Configurations to try after the opening, tried ones among them."""


class Grid(Search):
    """All combinations; if there are more of them than trials, an even spread."""

    __slots__ = ()

    def candidates(self, history: Sequence[TrialResult]) -> Iterator[Configuration]:
        """Every value of a knob as often as any other."""
        del history
        return _spread(self.knobs, np.random.default_rng(self.seed))


class Random(Search):
    """Random combinations, without repeats."""

    __slots__ = ()

    def candidates(self, history: Sequence[TrialResult]) -> Iterator[Configuration]:
        """Uniform draws."""
        del history
        return random_configurations(self.knobs, self.seed)


def combinations_of(knobs: Iterable[Knob]) -> int:
    """The number of configurations."""
    return math.prod(len(knob.values) for knob in knobs)


def opening(knobs: Sequence[Knob], trials: int) -> tuple[Configuration, ...]:
    """The setup without tuning, then single changes: each knob's first one, each one's second ...

    At most half of the trials are single changes.
    """
    default = configured(knobs)
    most = max(len(knob.values) for knob in knobs) if knobs else 0
    changes = (
        configured(knobs, {knob.name: knob.values[place]})
        for place in range(1, most)
        for knob in knobs
        if place < len(knob.values)
    )
    return (default, *itertools.islice(changes, trials // 2))


def made(history: Iterable[TrialResult]) -> int:
    """The number of trials that count: impossible configurations do not."""
    return sum(not trial.skipped for trial in history)


def random_configurations(knobs: Sequence[Knob], seed: int) -> Iterator[Configuration]:
    """Endless random configurations."""
    generator = np.random.default_rng(seed)
    while True:
        yield Configuration(
            {knob.name: knob.values[generator.integers(len(knob.values))] for knob in knobs}
        )


def _spread(knobs: Sequence[Knob], generator: np.random.Generator) -> Iterator[Configuration]:
    """Rounds in which every knob has each of its values as often as any other, or once less.

    As in a Latin hypercube (McKay, Beckman and Conover 1979), of choices instead of ranges.
    """
    length = max((len(knob.values) for knob in knobs), default=0)
    while length:
        columns = [_column(knob, length, generator) for knob in knobs]
        for row in zip(*columns, strict=True):
            yield Configuration(dict(zip((knob.name for knob in knobs), row, strict=True)))


def _column(knob: Knob, length: int, generator: np.random.Generator) -> list[object]:
    """Repeated random permutations of the values, cut to a length and shuffled."""
    orders = (generator.permutation(len(knob.values)) for _ in itertools.count())
    places = itertools.islice(itertools.chain.from_iterable(orders), length)
    chosen = [knob.values[int(place)] for place in places]
    return [chosen[int(place)] for place in generator.permutation(length)]


def _all_of(knobs: Sequence[Knob]) -> Iterator[Configuration]:
    names = [knob.name for knob in knobs]
    for values in itertools.product(*(knob.values for knob in knobs)):
        yield Configuration(dict(zip(names, values, strict=True)))
