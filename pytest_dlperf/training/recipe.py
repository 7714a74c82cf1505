"""Schedules: a learning rate that changes from step to step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pytest_dlperf.checks import check_count, check_number
from pytest_dlperf.describe import Described
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Schedule(ABC):
    """A learning rate as a function of the step."""

    __slots__ = ()

    @abstractmethod
    def at(self, step: int) -> float:
        """The rate of a step; the first step is 0."""


@dataclass(frozen=True, slots=True)
class ExponentialDecay(Described, Schedule):
    """`initial * factor ** (step / steps)`.

    Attributes:
        initial: the first rate.
        factor: what is left of it after `steps`, above 0 and at most 1.
        steps: as many steps.
    """

    initial: float
    factor: float
    steps: int

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_number(self.initial, "ExponentialDecay(initial)", above=0)
        check_number(self.factor, "ExponentialDecay(factor)", above=0)
        if self.factor > 1:
            raise UsageError(f"ExponentialDecay(factor={self.factor:g})", "expected at most 1")
        check_count(self.steps, "ExponentialDecay(steps)")

    def at(self, step: int) -> float:
        """The rate of a step; the first step is 0."""
        return float(self.initial * self.factor ** (step / self.steps))


@dataclass(frozen=True, slots=True)
class CosineDecay(Described, Schedule):
    """Half a cosine from the initial rate down to zero (Loshchilov and Hutter, 2017).

    `initial * (1 + cos(pi * step / steps)) / 2`, after `warm_up` steps in which it rises evenly
    from zero; zero once all steps are done.

    Attributes:
        initial: the highest rate.
        steps: steps from there to zero.
        warm_up: steps before.
    """

    initial: float
    steps: int
    warm_up: int = 0

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_number(self.initial, "CosineDecay(initial)", above=0)
        check_count(self.steps, "CosineDecay(steps)")
        if self.warm_up != 0:
            check_count(self.warm_up, "CosineDecay(warm_up)")

    def at(self, step: int) -> float:
        """The rate of a step; the first step is 0."""
        if step < self.warm_up:
            return self.initial * step / self.warm_up
        done = min(1.0, (step - self.warm_up) / self.steps)
        return self.initial * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True, slots=True)
class PiecewiseConstant(Described, Schedule):
    """One rate up to a step, then another one.

    Attributes:
        steps: the last step of each rate but the last, increasing.
        rates: one more than steps.
    """

    steps: Sequence[int]
    rates: Sequence[float]

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        for name in ("steps", "rates"):
            given = getattr(self, name)
            if not isinstance(given, Iterable):
                raise UsageError(
                    f"PiecewiseConstant({name}={given!r:.80})", "expected several numbers"
                )
            object.__setattr__(self, name, tuple(given))
        for step in self.steps:
            check_count(step, "PiecewiseConstant(steps)")
        for rate in self.rates:
            check_number(rate, "PiecewiseConstant(rates)", above=0)
        if any(after <= before for before, after in pairwise(self.steps)):
            raise UsageError(f"PiecewiseConstant(steps={self.steps})", "expected increasing steps")
        if len(self.rates) != len(self.steps) + 1:
            raise UsageError(
                f"PiecewiseConstant: {len(self.steps)} steps and {len(self.rates)} rates",
                "expected one rate more than steps",
            )

    def at(self, step: int) -> float:
        """The rate of a step; the first step is 0."""
        return self.rates[sum(step > last for last in self.steps)]
