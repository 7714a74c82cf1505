"""Builds, compiles and fits Keras models according to a recipe."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakValueDictionary

from pytest_dlperf.errors import DlperfError, TargetError, UsageError, message_of
from pytest_dlperf.targets.keras import Model, name_of
from pytest_dlperf.targets.keras_backend import is_keras_model
from pytest_dlperf.targets.users_frames import cause_in_users_code
from pytest_dlperf.training.keras.callback import TrainingCallback, TrainingSpec, keras_callback
from pytest_dlperf.training.keras.positions import fitted_labels
from pytest_dlperf.training.recipe import CosineDecay, ExponentialDecay, PiecewiseConstant, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.dataset import Examples
    from pytest_dlperf.load.answer_layout import Output
    from pytest_dlperf.training.recipe import Recipe
    from pytest_dlperf.training.summary import Epoch, TrainingRun


BATCH_SIZE: Final = 32
"""Rows of one step by default, as in Keras."""

_BUILT: Final[WeakValueDictionary[int, object]] = WeakValueDictionary()
"""Models that were built in this process, and what they train, by `id` for as long as they live."""


def built(
    build: Callable[..., object], arguments: Mapping[str, object], recipe: Recipe, seed: int
) -> Model:
    """Build a model from a seed and compile it according to a recipe.

    `build` returns a compiled Keras model; it takes `arguments` by keyword.

    Raises:
        UsageError: if it returns anything else, a model that was built before, or one that the
            recipe does not apply to.
    """
    import keras

    keras.utils.set_random_seed(seed)
    with _precision(recipe):
        model = build(**arguments)
        if not is_keras_model(model):
            raise UsageError(
                f"build() returned {type(model).__name__}: expected a compiled Keras model",
                "return the model, not what model.compile() or model.fit() returns",
            )
        _refuse_trained(model)
        return compiled(cast("Model", model), recipe)


def _refuse_trained(model: Any) -> None:  # noqa: ANN401 - of Keras
    """Refuse a model that an earlier call returned, or one with its weights."""
    parts = {id(part): part for part in (model, *model.trainable_variables)}
    if parts.keys() & _BUILT.keys():
        raise UsageError(
            f"build() returned {name_of(model)} with weights that an earlier call has returned: "
            "its training would go on from there",
            "make or load the whole model in build(); what is shared must have trainable = False",
        )
    _BUILT.update(parts)


def compiled(model: Model, recipe: Recipe) -> Model:
    """The same model, compiled anew where the recipe differs; loss and metrics stay.

    Raises:
        UsageError: if it was not compiled, or the recipe does not apply to it.
    """
    if not model.compiled:
        raise UsageError(
            f"{name_of(model)} was built, but not compiled: its loss is not known",
            "call model.compile(loss=..., metrics=[...]) in build(); a recipe may choose the rest",
        )
    wanted = {
        "optimizer": optimizer_for(recipe, model.optimizer),
        "steps_per_execution": recipe.steps_per_execution,
        "jit_compile": recipe.jit_compile,
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if wanted:
        # The objects themselves: Keras' get_compile_config() cannot serialise a user's own loss.
        arguments = {**model._compile_config.config, **wanted}  # noqa: SLF001
        try:
            model.compile(**arguments)
        except TypeError as error:
            raise UsageError(
                f"{name_of(model)} cannot be compiled with {', '.join(wanted)}: {error}",
                "a compile() of its own must take what Keras' takes; or leave it out of the recipe",
            ) from error
    if recipe.jit_compile and not model.jit_compile:
        raise UsageError(
            f"{name_of(model)} cannot be compiled by XLA: a layer does not support it",
            "leave jit_compile out of the recipe",
        )
    return model


@contextlib.contextmanager
def _precision(recipe: Recipe) -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    if recipe.precision is not None:
        keras.config.set_dtype_policy(recipe.precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fit(  # noqa: PLR0913, PLR0917 - a training has this many parts
    model: Model,
    train: Examples,
    test: Examples | None,
    recipe: Recipe,
    clock: Clock,
    on_epoch_end: Callable[[Epoch], None],
    seed: int,
    output: Output | None = None,
) -> TrainingRun:
    """Fit a compiled model in place, from a seed, and time its steps.

    The test rows, if any, are evaluated after each epoch with the clock stopped; of several
    outputs, by the one that `output` chooses.

    Raises:
        TrainingError: as soon as the loss or an answer is not finite.
        TargetError: if the model cannot be fitted to these rows.
        UsageError: if Keras is configured to limit epochs or steps.
    """
    import keras

    _refuse_limits()
    size = batch_size(recipe, len(train.inputs))
    keras.utils.set_random_seed(seed)  # Keras shuffles by the global generators
    spec = TrainingSpec(recipe, len(train.inputs), size, output)
    callback = TrainingCallback(model, clock, spec, test, on_epoch_end)
    labels, weights = fitted_labels(train.labels, train.inputs)
    try:
        model.fit(
            train.inputs[:],
            labels,
            sample_weight=weights,
            batch_size=size,
            epochs=recipe.epochs,
            shuffle=not recipe.all_at_once,
            verbose=0,
            callbacks=[keras_callback(callback)],
        )
    except DlperfError:
        raise
    except Exception as error:  # noqa: BLE001 - the framework may raise anything
        raise TargetError(
            f"{name_of(model)} could not be fitted: {message_of(error)}"
        ) from cause_in_users_code(error)
    return callback.run()


def batch_size(recipe: Recipe, rows: int) -> int:
    """Rows of one step, at most `rows`."""
    return rows if recipe.all_at_once else min(recipe.batch_size or BATCH_SIZE, rows)


def sized_name_of(model: Model) -> str:
    """A built model in words, with its size."""
    parameters = model.count_params()
    return f"{name_of(model)}, {parameters:,} parameters"


def weights_of(model: Model) -> list[NDArray[Any]]:
    """Copies of the weights; empty for a model that is not built yet."""
    weights: list[NDArray[Any]] = model.get_weights() if model.built else []
    return weights


def _refuse_limits() -> None:
    import keras

    for name in ("max_epochs", "max_steps_per_epoch"):
        limit = getattr(keras.config, name)()
        if limit:
            raise UsageError(
                f"Keras is told to cut every training short: {name} is {limit}",
                f"unset KERAS_{name.upper()}, or drop keras.config.set_{name}({limit})",
            )


def optimizer_for(recipe: Recipe, present: Any) -> object:  # noqa: ANN401 - Keras has no types
    """The optimizer of a recipe; None if it keeps the present one."""
    from keras import optimizers

    rate = recipe.learning_rate
    settings = {
        "learning_rate": schedule_for(rate) if isinstance(rate, Schedule) else rate and float(rate),
        "momentum": recipe.momentum,
        "weight_decay": recipe.weight_decay,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if recipe.optimizer is None:
        # For mixed_float16, Keras has wrapped it in a LossScaleOptimizer, and will again.
        inner = getattr(present, "inner_optimizer", present)
        return type(inner).from_config({**inner.get_config(), **settings}) if settings else None
    kinds = {
        "gradient_descent": optimizers.SGD,  # `fit` gives it all rows in one step
        "sgd": optimizers.SGD,
        "rmsprop": optimizers.RMSprop,
        "adam": optimizers.Adam,
        "adamw": optimizers.AdamW,
    }
    return kinds[recipe.optimizer](**settings)


def schedule_for(schedule: Schedule) -> object:
    """Keras' schedule with the same rate at every step.

    Raises:
        UsageError: for a schedule of a user's own class.
    """
    from keras.optimizers import schedules

    match schedule:
        case ExponentialDecay(initial, factor, steps):
            return schedules.ExponentialDecay(initial, steps, factor)
        case CosineDecay(initial, steps, 0):
            return schedules.CosineDecay(initial, steps)
        case CosineDecay(initial, steps, warm_up):
            return schedules.CosineDecay(0.0, steps, warmup_target=initial, warmup_steps=warm_up)
        case PiecewiseConstant(steps, rates):
            return schedules.PiecewiseConstantDecay(list(steps), list(rates))
    raise UsageError(
        f"Recipe(learning_rate={schedule!r:.80}): no schedule that Keras has",
        "use ExponentialDecay, CosineDecay or PiecewiseConstant, or compile the model in build() "
        "with a schedule of Keras' own",
    )
