"""Applies post-training steps to Keras models: pruning, distillation, quantisation."""

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

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.dataset import Examples
    from pytest_dlperf.targets.keras import Model
    from pytest_dlperf.training.compression import PostTrainingStep
    from pytest_dlperf.training.recipe import Recipe
    from pytest_dlperf.trees import Rows


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
    """A copy of a trained model after a post-training step, compiled as it is.

    Further training follows the recipe, with a fresh optimizer and schedule. `build` makes another
    compiled model, with these arguments over the model's own.

    Raises:
        UsageError: if the step does not apply to the model.
        TrainingError: if a loss is not finite.
    """
    match step:
        case Quantisation():
            return quantised(model, train.inputs)
        case Distillation(arguments):
            output_kind(model)  # refuse the model before a student is built for nothing
            student = build(arguments)
            return distilled(
                model, student, step, train=train, recipe=recipe, clock=clock, seed=seed
            )
        case MagnitudePruning(share, epochs):
            pruned = copied(model, train.inputs, same, {})
            masked = masks(pruned, share)
            for weight in masked:
                weight.hold()
        case NeuronPruning(share, epochs):
            masked, pruned = [], without_units(model, share, train.inputs)
        case _:
            raise UsageError(
                f"{step!r:.80} cannot be done to a model",
                "expected Quantisation, MagnitudePruning, NeuronPruning or Distillation",
            )
    if epochs:
        fit(pruned, train, None, replace(recipe, epochs=epochs), clock, lambda _: None, seed)
    for weight in masked:
        weight.release()
    return pruned


def quantised(model: Model, sample: Rows) -> Model:
    """A copy with the kernels in 8 bits, by Keras' own dynamic quantisation."""
    rounded: Any = copied(model, sample, same, {})
    with quiet():
        rounded.quantize("int8")
    if not is_rounded(rounded):
        raise UsageError(
            f"{name_of(model)} has no layer that Keras quantises",
            "Keras does it with Dense, EinsumDense and Embedding; with runtime 'litert' the "
            "converter does it with convolutions too",
        )
    # Compiled again, since the optimizer was built for weights that are no longer trainable.
    return compiled_alike(rounded, model)
