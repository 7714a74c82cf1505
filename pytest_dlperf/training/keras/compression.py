"""Carries out post-training steps on Keras models: pruning, distillation, quantisation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.conversion import Quantisation, is_rounded
from pytest_dlperf.targets.keras import name_of
from pytest_dlperf.targets.keras_models import compiled_alike, copied, quiet, same
from pytest_dlperf.training.compression import Distillation, MagnitudePruning, NeuronPruning
from pytest_dlperf.training.keras.distillation import distilled, output_kind
from pytest_dlperf.training.keras.fit import fit
from pytest_dlperf.training.keras.pruning import masks, without_units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.dataset import Examples
    from pytest_dlperf.targets.keras import Model
    from pytest_dlperf.training.compression import PostTrainingStep
    from pytest_dlperf.training.recipe import Recipe


def with_step(  # noqa: PLR0913 - a model, a step, and what training takes
    model: Model,
    step: PostTrainingStep,
    *,
    build: Callable[[Mapping[str, object]], Model],
    train: Examples,
    recipe: Recipe,
    clock: Clock,
    seed: int,
) -> Model:
    """A copy of a model after a post-training step; the model itself does not change.

    Further training follows the recipe, with a fresh optimizer and schedule.

    Args:
        model: a trained Keras model.
        step: the step.
        build: builds another compiled model, with these arguments over the model's own.
        train: training rows, as the model takes them.
        recipe: how the model was trained.
        clock: times the training.
        seed: of the order of the rows and of random layers.

    Returns:
        A model that is compiled like the given one, and can be saved in Keras' format.

    Raises:
        UsageError: if the step does not apply to the model.
        TrainingError: if a loss is not finite.
    """
    match step:
        case Quantisation():
            return quantised(model, train.inputs)
        case Distillation(arguments):
            output_kind(
                model
            )  # refuses a model that cannot be distilled before the student is built
            return distilled(
                model,
                build(arguments),
                step,
                train=train,
                recipe=recipe,
                clock=clock,
                seed=seed,
            )
        case MagnitudePruning(share, epochs):
            pruned = copied(model, train.inputs, same, {})
            masked = masks(pruned, share)
            for weight in masked:
                weight.hold()
            _train_on(pruned, epochs, train=train, recipe=recipe, clock=clock, seed=seed)
            for weight in masked:
                weight.release()
            return pruned
        case NeuronPruning(share, epochs):
            pruned = without_units(model, share, train.inputs)
            _train_on(pruned, epochs, train=train, recipe=recipe, clock=clock, seed=seed)
            return pruned
    raise UsageError(
        f"{step!r:.80} cannot be done to a model",
        "expected Quantisation, MagnitudePruning, NeuronPruning or Distillation",
    )


def quantised(model: Model, sample: NDArray[Any]) -> Model:
    """A copy with the kernels in 8 bits, by Keras' own dynamic quantisation.

    Raises:
        UsageError: if it has no layer that Keras quantises.
    """
    rounded: Any = copied(model, sample, same, {})
    with quiet():
        rounded.quantize("int8")
    if not is_rounded(rounded):
        raise UsageError(
            f"{name_of(model)} has no layer that Keras quantises",
            "Keras does it with Dense, EinsumDense and Embedding; with runtime 'litert' the "
            "converter does it with convolutions too",
        )
    return compiled_alike(rounded, model)  # for fewer trainable weights


def _train_on(  # noqa: PLR0913 - what training takes
    model: Model, epochs: int, *, train: Examples, recipe: Recipe, clock: Clock, seed: int
) -> None:
    if epochs:
        fit(model, train, None, replace(recipe, epochs=epochs), clock, lambda _: None, seed)
