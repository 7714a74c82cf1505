"""Lesson: what is to be trained, on what, how and where, checked before anything is built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf._values import check_count, describe, device_names
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import DataError, UsageError
from pytest_dlperf.targets.keras import is_model
from pytest_dlperf.training.keras.fit import batch_size
from pytest_dlperf.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data

_QUICK_BATCHES: Final = 8
_QUICK_ROWS: Final = 256


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What is to be trained, on what, and how.

    Attributes:
        build: returns a compiled Keras model.
        train: rows to learn from, with labels.
        test: rows to be asked, with labels; None asks those that it learns from.
        recipe: how it is trained.
        seeds: so many trainings, from the seeds 0, 1, ...
        devices: single devices that share each batch; empty leaves it to TensorFlow.
    """

    build: Callable[[], object]
    train: Data
    test: Data | None
    recipe: Recipe
    seeds: int = 1
    devices: tuple[str, ...] = ()

    @property
    def asked(self) -> Data:
        """The rows whose answers are scored."""
        return self.test or self.train

    @property
    def scenario(self) -> str:
        """As text, with the epochs in any case."""
        named = describe(self.recipe).removeprefix("Recipe(").removesuffix(")")
        epochs = f"epochs={self.recipe.epochs}"
        rest = named.removeprefix(epochs).removeprefix(", ")
        seeds = f"seeds={self.seeds}" if self.seeds > 1 else ""
        return f"train({', '.join(filter(None, (epochs, rest, seeds)))})"

    @property
    def place(self) -> str:
        """Where, as text."""
        return f"on {', '.join(self.devices)}" if self.devices else "on TensorFlow's own choice"

    def briefly(self) -> TrainingJob:
        """One epoch of a few batches, from one seed: enough to see that it runs."""
        recipe = replace(self.recipe, epochs=1)
        few = _QUICK_BATCHES * batch_size(recipe, len(self.train.inputs))
        train = _first_rows(self.train, min(few, _QUICK_ROWS))
        test = _first_rows(self.test, _QUICK_ROWS) if self.test else None
        return replace(self, train=train, test=test, recipe=recipe, seeds=1)


def _first_rows(data: Data, rows: int) -> Data:
    return replace(data, inputs=data.inputs[:rows], labels=labels_of(data)[:rows])


def labels_of(data: Data) -> NDArray[Any]:
    """The labels of rows that have some.

    Raises:
        DataError: if they have none.
    """
    if data.labels is None:
        raise DataError("training needs labels: give (inputs, labels)")
    return data.labels


def training_job(  # noqa: PLR0913, PLR0917 - as the user gives them
    build: object,
    data: object,
    test: object,
    recipe: object,
    seeds: object,
    devices: tuple[str, ...],
) -> TrainingJob:
    """What a user wants trained, checked.

    Args:
        build: a callable without arguments.
        data: `(inputs, labels)`, or an object with `.inputs` and `.labels`, or with `.train` and
            `.test`, each of them such.
        test: as the former; None takes `data.test` if there is one.
        recipe: None changes nothing.
        seeds: how many.
        devices: of `placed_by`.

    Raises:
        UsageError: for what is no model's builder, recipe or number.
        DataError: for data that cannot be used.
    """
    if is_model(build) or not callable(build):
        hint = "give the function that builds and compiles the model, not what it returns"
        raise UsageError(f"build={type(build).__name__} builds no model", hint)
    if recipe is not None and not isinstance(recipe, Recipe):
        raise UsageError(f"recipe={recipe!r:.80}", "expected a Recipe(...)")
    check_count(seeds, "seeds")
    split = hasattr(data, "train") and hasattr(data, "test")
    learnt = as_data(data.train if split else data)  # type: ignore[attr-defined]  # just seen
    if test is None and split:
        test = data.test  # type: ignore[attr-defined]  # just seen
    asked = as_data(test) if test is not None else None
    for given in filter(None, (learnt, asked)):
        labels_of(given)
    if asked is not None and asked.inputs.shape[1:] != learnt.inputs.shape[1:]:
        raise DataError(
            f"test rows of shape {asked.inputs.shape[1:]}, but it learns from rows of shape "
            f"{learnt.inputs.shape[1:]}"
        )
    return TrainingJob(build, learnt, asked, recipe or Recipe(), int(seeds), devices)  # type: ignore[call-overload]  # checked


def placed_by(devices: object, plan: Plan) -> tuple[str, ...]:
    """Names of the devices that a training is to use: of the call, or of a test for one device.

    Raises:
        UsageError: for what names no device, or another than the test is for.
    """
    if devices is None:
        return plan.devices
    names = device_names(devices, "devices")
    if plan.devices and names != plan.devices:
        raise UsageError(
            f"devices={devices!r:.80} in a test that is for {', '.join(plan.devices)}",
            "drop devices= in the call or in the marker",
        )
    return names
