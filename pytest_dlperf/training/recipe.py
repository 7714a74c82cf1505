"""Recipes: epochs, batches, optimizer and precision of a training; and learning-rate schedules."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from pytest_dlperf._values import Described, check_choice, check_count, check_number
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


Optimizer: TypeAlias = Literal["gradient_descent", "sgd", "rmsprop", "adam", "adamw"]
Precision: TypeAlias = Literal["float32", "mixed_bfloat16", "mixed_float16"]
WITH_MOMENTUM: Final = frozenset({"sgd", "rmsprop"})
"""Optimizers that take a momentum."""


class Schedule(ABC):
    """A learning rate as a function of the step."""

    __slots__ = ()

    @abstractmethod
    def at(self, step: int) -> float:
        """The rate of a step, counted from 0."""


@dataclass(frozen=True, slots=True)
class ExponentialDecay(Described, Schedule):
    """`initial * factor ** (step / steps)`.

    Attributes:
        initial: the first rate.
        factor: of the rate over `steps` steps, above 0 and at most 1.
        steps: steps in which the rate changes by the factor.
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
        """The rate of a step, counted from 0."""
        return float(self.initial * self.factor ** (step / self.steps))


@dataclass(frozen=True, slots=True)
class CosineDecay(Described, Schedule):
    """Half a cosine from the initial rate down to zero (Loshchilov and Hutter, 2017).

    `initial * (1 + cos(pi * step / steps)) / 2`, after `warm_up` steps in which the rate rises
    linearly from zero; zero after the last step.

    Attributes:
        initial: the highest rate.
        steps: steps from the highest rate to zero.
        warm_up: steps from zero to the highest rate.
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
        """The rate of a step, counted from 0."""
        if step < self.warm_up:
            return self.initial * step / self.warm_up
        done = min(1.0, (step - self.warm_up) / self.steps)
        return self.initial * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True, slots=True)
class PiecewiseConstant(Described, Schedule):
    """A rate up to and including a step, then another one.

    Attributes:
        steps: the last step of each rate but the final one, increasing.
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
        """The rate of a step, counted from 0."""
        return self.rates[sum(step > last for last in self.steps)]


@dataclass(frozen=True, slots=True)
class Recipe(Described):
    """How a model is trained; None keeps the compiled model's setting, or Keras' default.

    Attributes:
        epochs: passes over the rows.
        batch_size: rows of one step; None is 32. Plain gradient descent takes all rows at once.
        optimizer: `gradient_descent` (`theta = theta - alpha * grad J`, over all rows), `sgd`,
            `rmsprop`, `adam` or `adamw`.
        learning_rate: a number, or a schedule over the steps.
        momentum: of `sgd` and `rmsprop`, at least 0 and below 1.
        weight_decay: of `adamw`: each step reduces the weights by this share of the learning rate.
        steps_per_execution: steps that TensorFlow carries out in one call.
        jit_compile: whether XLA compiles the step.
        precision: of layers without a precision of their own.
    """

    epochs: int = 5
    batch_size: int | None = None
    optimizer: Optimizer | None = None
    learning_rate: float | Schedule | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    steps_per_execution: int | None = None
    jit_compile: bool | None = None
    precision: Precision | None = None

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_count(self.epochs, "Recipe(epochs)")
        if self.batch_size is not None:
            check_count(self.batch_size, "Recipe(batch_size)")
        if self.steps_per_execution is not None:
            check_count(self.steps_per_execution, "Recipe(steps_per_execution)")
        if self.jit_compile is not None and not isinstance(self.jit_compile, bool):
            raise UsageError(f"Recipe(jit_compile={self.jit_compile!r:.80})", "True or False")
        if self.precision is not None:
            check_choice(self.precision, get_args(Precision), "Recipe(precision)")
        if self.optimizer is not None:
            check_choice(self.optimizer, get_args(Optimizer), "Recipe(optimizer)")
        if self.learning_rate is not None and not isinstance(self.learning_rate, Schedule):
            check_number(self.learning_rate, "Recipe(learning_rate)", above=0)
        self._check_optimizer()

    @property
    def all_at_once(self) -> bool:
        """Whether each step takes all rows, in order."""
        return self.optimizer == "gradient_descent"

    def _check_optimizer(self) -> None:
        __tracebackhide__ = True
        if self.optimizer == "gradient_descent" and self.batch_size is not None:
            raise UsageError(
                f"Recipe(batch_size={self.batch_size}) with gradient descent, which takes all rows "
                "at once",
                "optimizer='sgd' takes batches",
            )
        if self.momentum is not None:
            check_number(self.momentum, "Recipe(momentum)")
            if self.momentum >= 1:
                raise UsageError(f"Recipe(momentum={self.momentum:g})", "expected less than 1")
            if self.optimizer not in WITH_MOMENTUM:
                raise UsageError(
                    f"Recipe(momentum) with optimizer={self.optimizer!r}",
                    f"it belongs to {' and '.join(sorted(WITH_MOMENTUM))}",
                )
        if self.weight_decay is not None:
            check_number(self.weight_decay, "Recipe(weight_decay)")
            if self.optimizer != "adamw":
                raise UsageError(
                    f"Recipe(weight_decay) with optimizer={self.optimizer!r}", "it belongs to adamw"
                )
