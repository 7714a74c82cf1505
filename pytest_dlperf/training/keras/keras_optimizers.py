"""Keras' optimizers and schedules of the learning rate, as a recipe asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_dlperf.errors import UsageError
from pytest_dlperf.training.recipe import CosineDecay, ExponentialDecay, PiecewiseConstant, Schedule

if TYPE_CHECKING:
    from pytest_dlperf.training.recipe_core import Recipe


def optimizer_for(recipe: Recipe, present: Any) -> object | None:  # noqa: ANN401 - Keras has no types
    """The optimizer that a recipe asks for; None if that is the one that is there.

    Plain gradient descent is Keras' SGD without momentum; that it sees all rows in one step is
    for whoever fits.

    Args:
        recipe: how a model is trained.
        present: the optimizer that it was compiled with.

    Raises:
        UsageError: for a schedule of another class than the package's own.
    """
    import keras

    rate = {}
    if recipe.learning_rate is not None:
        rate["learning_rate"] = _rate(recipe.learning_rate)
    momentum = {"momentum": recipe.momentum} if recipe.momentum is not None else {}
    decay = {"weight_decay": recipe.weight_decay} if recipe.weight_decay is not None else {}
    match recipe.optimizer:
        case None if not rate:
            return None
        case None:
            inner = getattr(present, "inner_optimizer", present)  # scaled for 16 bits
            again: object = type(inner).from_config({**inner.get_config(), **rate})
            return again
        case "gradient_descent":
            made: object = keras.optimizers.SGD(**rate)
        case "sgd":
            made = keras.optimizers.SGD(**rate, **momentum)
        case "rmsprop":
            made = keras.optimizers.RMSprop(**rate, **momentum)
        case "adam":
            made = keras.optimizers.Adam(**rate)
        case "adamw":
            made = keras.optimizers.AdamW(**rate, **decay)
    return made


def _rate(rate: float | Schedule) -> object:
    return schedule_for(rate) if isinstance(rate, Schedule) else float(rate)


def schedule_for(schedule: Schedule) -> object:
    """Keras' own schedule with the same rate at every step.

    Raises:
        UsageError: for one of another class than the package's own.
    """
    from keras.optimizers import schedules

    match schedule:
        case ExponentialDecay(initial, factor, steps):
            made: object = schedules.ExponentialDecay(initial, steps, factor)
        case CosineDecay(initial, steps, 0):
            made = schedules.CosineDecay(initial, steps)
        case CosineDecay(initial, steps, warm_up):
            made = schedules.CosineDecay(0.0, steps, warmup_target=initial, warmup_steps=warm_up)
        case PiecewiseConstant(steps, rates):
            made = schedules.PiecewiseConstantDecay(list(steps), list(rates))
        case _:
            raise UsageError(
                f"Recipe(learning_rate={schedule!r:.80}): no schedule that Keras has",
                "use ExponentialDecay, CosineDecay or PiecewiseConstant, or compile the model in "
                "build() with a schedule of Keras' own",
            )
    return made
