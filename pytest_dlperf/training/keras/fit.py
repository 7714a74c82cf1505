"""Training with Keras: models built and compiled as a recipe says, fitted, and watched."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

from pytest_dlperf.errors import DlperfError, TargetError, UsageError
from pytest_dlperf.targets.keras import Model, is_model, name_of
from pytest_dlperf.targets.keras_models import clean_keras_message
from pytest_dlperf.training.keras.callback import Fitted, TrainingCallback, TrainingSpec, callback
from pytest_dlperf.training.recipe import CosineDecay, ExponentialDecay, PiecewiseConstant, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.dataset import Examples
    from pytest_dlperf.training.recipe import Recipe
    from pytest_dlperf.training.summary import Epoch


BATCH_SIZE: Final = 32
"""Rows of one step where nothing else is said, as Keras has it."""


def built(
    build: Callable[..., object], arguments: Mapping[str, object], recipe: Recipe, seed: int
) -> Model:
    """Build a model and compile it as a recipe says; what the recipe does not say stays.

    Args:
        build: returns a compiled Keras model.
        arguments: of `build`, by keyword.
        recipe: how it will be trained.
        seed: of its first weights.

    Raises:
        UsageError: if `build` returns something else, or what cannot be compiled so.
    """
    import keras

    keras.utils.set_random_seed(seed)
    with _precision(recipe):
        model = build(**arguments)
        if not is_model(model):
            raise UsageError(
                f"build() returned {type(model).__name__}: expected a compiled Keras model",
                "return the model, not what model.compile() or model.fit() returns",
            )
        return compiled(cast("Model", model), recipe)


def compiled(model: Model, recipe: Recipe) -> Model:
    """The same model, compiled anew where a recipe says something else; loss and metrics stay.

    Args:
        model: compiled.
        recipe: how it will be trained.

    Raises:
        UsageError: if it was not compiled, or cannot be compiled so.
    """
    given: Any = model
    if not given.compiled:
        raise UsageError(
            f"{name_of(model)} was built, but not compiled: its loss is not known",
            "call model.compile(loss=..., metrics=[...]) in build(); a recipe may choose the rest",
        )
    wanted = {
        name: value
        for name, value in (
            ("optimizer", optimizer_for(recipe, given.optimizer)),
            ("steps_per_execution", recipe.steps_per_execution),
            ("jit_compile", recipe.jit_compile),
        )
        if value is not None
    }
    if wanted:
        # The objects that it was compiled with: Keras' public way, get_compile_config, writes
        # them as text, which a loss or a metric of the user's own does not survive.
        asked = {**given._compile_config.config, **wanted}  # noqa: SLF001
        try:
            given.compile(**asked)
        except TypeError as error:
            raise UsageError(
                f"{name_of(model)} cannot be compiled with {', '.join(wanted)}: {error}",
                "a compile() of its own must take what Keras' takes; or leave it out of the recipe",
            ) from error
    if recipe.jit_compile and not given.jit_compile:
        raise UsageError(
            f"{name_of(model)} cannot be compiled by XLA: a layer does not support it",
            "leave jit_compile out of the recipe",
        )
    return model


@contextlib.contextmanager
def _precision(recipe: Recipe) -> Iterator[None]:
    """Let layers that are made inside compute as a recipe says; others keep theirs."""
    import keras

    before = keras.config.dtype_policy()
    if recipe.precision is not None:
        keras.config.set_dtype_policy(recipe.precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fit(  # noqa: PLR0913, PLR0917 - what, with what, how, and who is told
    model: Model,
    train: Examples,
    test: Examples | None,
    recipe: Recipe,
    clock: Clock,
    heard: Callable[[Epoch], None],
    seed: int,
) -> Fitted:
    """Fit a compiled model, and measure how that goes.

    Args:
        model: of `built`, or one that was compiled otherwise; its optimizer is used as it is.
        train: rows to learn from.
        test: rows that are asked after each epoch, in time that does not count.
        recipe: epochs, size of batches, and whether all rows are taken at once.
        clock: time.
        heard: takes each epoch when it is over.
        seed: of the order of the rows, and of what layers draw.

    Raises:
        TrainingError: if the loss or an answer is not finite, as soon as that is seen.
        TargetError: if the model cannot be fitted to these rows.
        UsageError: if Keras is told to cut every training short.
    """
    import keras

    _refuse_limits()
    size = batch_size(recipe, len(train.inputs))
    keras.utils.set_random_seed(seed)
    watch = TrainingCallback(
        model, clock, TrainingSpec(recipe, len(train.inputs), size), test, heard
    )
    try:
        model.fit(
            train.inputs,
            train.labels,
            batch_size=size,
            epochs=recipe.epochs,
            shuffle=not recipe.all_at_once,
            verbose=0,
            callbacks=[callback(watch)],
        )
    except DlperfError:
        raise
    except Exception as error:
        raise TargetError(
            f"{name_of(model)} could not be fitted: {clean_keras_message(error)}"
        ) from error
    return watch.fitted()


def batch_size(recipe: Recipe, rows: int) -> int:
    """Rows of one step, where there are so many to learn from."""
    return rows if recipe.all_at_once else min(recipe.batch_size or BATCH_SIZE, rows)


def sized_name_of(model: Model) -> str:
    """How to call a model in a report, with its size; it has its weights."""
    parameters = cast("Any", model).count_params()
    return f"{name_of(model)}, {parameters:,} parameters"


def weights_of(model: Model) -> list[NDArray[Any]]:
    """Copies of its weights; none where they come with the first batch."""
    given: Any = model
    found: list[NDArray[Any]] = given.get_weights() if given.built else []
    return found


def _refuse_limits() -> None:
    import keras

    for name in ("max_epochs", "max_steps_per_epoch"):
        limit = getattr(keras.config, name)()
        if limit:
            raise UsageError(
                f"Keras is told to cut every training short: {name} is {limit}",
                f"unset KERAS_{name.upper()}, or drop keras.config.set_{name}({limit})",
            )


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
