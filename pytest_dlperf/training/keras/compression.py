"""What is done to a Keras model beside plain training: pruning, distillation, quantisation."""

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


def finished(  # noqa: PLR0913 - what, what is done to it, and with what
    model: Model,
    finish: PostTrainingStep,
    *,
    build: Callable[[Mapping[str, object]], Model],
    train: Examples,
    recipe: Recipe,
    clock: Clock,
    seed: int,
) -> Model:
    """A model with something done to it; the given one stays as it is.

    Where it is trained on, that is by the recipe, with an optimizer and a schedule that begin
    anew.

    Args:
        model: a trained Keras model.
        finish: what is done to it.
        build: makes another model, compiled, with these arguments over those of the model.
        train: rows to learn from, as the model takes them.
        recipe: how it was trained.
        clock: time.
        seed: of the order of the rows, and of what layers draw.

    Returns:
        A model that is compiled as the given one, and can be kept in Keras' format.

    Raises:
        UsageError: if that does not go with the model.
        TrainingError: if a loss is not finite.
    """
    match finish:
        case Quantisation():
            return quantised(model, train.inputs)
        case Distillation(arguments):
            output_kind(model)  # what cannot be distilled is refused before anything is built
            return distilled(
                model,
                build(arguments),
                finish,
                train=train,
                recipe=recipe,
                clock=clock,
                seed=seed,
            )
        case MagnitudePruning(share, epochs):
            pruned = copied(model, train.inputs, same, {})
            masked = masks(pruned, share)
            for one in masked:
                one.hold()
            _train_on(pruned, epochs, train=train, recipe=recipe, clock=clock, seed=seed)
            for one in masked:
                one.release()
            return pruned
        case NeuronPruning(share, epochs):
            pruned = without_units(model, share, train.inputs)
            _train_on(pruned, epochs, train=train, recipe=recipe, clock=clock, seed=seed)
            return pruned
    raise UsageError(
        f"{finish!r:.80} cannot be done to a model",
        "expected Quantisation, MagnitudePruning, NeuronPruning or Distillation",
    )


def quantised(model: Model, sample: NDArray[Any]) -> Model:
    """A copy whose kernels Keras keeps in 8 bits, and multiplies with inputs that it rounds too.

    Raises:
        UsageError: if it has no layer that Keras can do this with.
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
    return compiled_alike(rounded, model)  # anew: there are fewer weights left to train


def _train_on(  # noqa: PLR0913 - what, for how long, with what and how
    model: Model, epochs: int, *, train: Examples, recipe: Recipe, clock: Clock, seed: int
) -> None:
    if epochs:
        fit(model, train, None, replace(recipe, epochs=epochs), clock, lambda _: None, seed)
