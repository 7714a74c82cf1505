"""Training jobs: model, rows, recipe, seeds and devices, checked before anything is built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf._values import check_count, describe, device_names
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.rows import row_shapes
from pytest_dlperf.errors import DataError, UsageError
from pytest_dlperf.targets.keras_backend import is_keras_model
from pytest_dlperf.training.keras.fit import batch_size
from pytest_dlperf.training.recipe import Recipe
from pytest_dlperf.trees import as_tree, first_rows, leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.trees import Rows

_QUICK_BATCHES: Final = 8
_QUICK_ROWS: Final = 256


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A model to train, its data, and the settings.

    Attributes:
        build: returns a compiled Keras model.
        train: training rows, with labels.
        test: test rows, with labels; None evaluates on the training rows.
        recipe: the training settings.
        seeds: number of trainings, from the seeds 0, 1, ...
        devices: single devices that share each batch; empty leaves the choice to TensorFlow.
    """

    build: Callable[[], object]
    train: Data
    test: Data | None
    recipe: Recipe
    seeds: int = 1
    devices: tuple[str, ...] = ()

    @property
    def evaluated(self) -> Data:
        """The rows that the model is evaluated on."""
        return self.test or self.train

    @property
    def scenario(self) -> str:
        """The job as a scenario's text, which always has the epochs."""
        settings = describe(self.recipe).removeprefix("Recipe(").removesuffix(")")
        epochs = f"epochs={self.recipe.epochs}"
        rest = settings.removeprefix(epochs).removeprefix(", ")
        seeds = f"seeds={self.seeds}" if self.seeds > 1 else ""
        return f"train({', '.join(filter(None, (epochs, rest, seeds)))})"

    @property
    def place(self) -> str:
        """The devices as text."""
        return f"on {', '.join(self.devices)}" if self.devices else "on TensorFlow's own choice"

    def briefly(self) -> TrainingJob:
        """A smoke run: one epoch of a few batches, from one seed."""
        recipe = replace(self.recipe, epochs=1)
        rows = _QUICK_BATCHES * batch_size(recipe, len(self.train.inputs))
        train = _first_rows(self.train, min(rows, _QUICK_ROWS))
        test = _first_rows(self.test, _QUICK_ROWS) if self.test else None
        return replace(self, train=train, test=test, recipe=recipe, seeds=1)


def _first_rows(data: Data, rows: int) -> Data:
    rows = min(rows, len(data.inputs))
    labels = first_rows(labels_of(data), rows)
    return replace(data, inputs=first_rows(data.inputs, rows), labels=labels)


def labels_of(data: Data) -> Rows:
    """The labels of rows; a DataError if they have none."""
    if data.labels is None:
        raise DataError("training needs labels: give (inputs, labels)")
    return data.labels


def _outputs(labels: Rows) -> str:
    """The outputs that there are labels for, in words."""
    return ", ".join(path or "one output" for path, _ in leaves(as_tree(labels)))


def training_job(  # noqa: PLR0913, PLR0917 - as the user gives them
    build: object,
    data: object,
    test: object,
    recipe: object,
    seeds: object,
    devices: tuple[str, ...],
) -> TrainingJob:
    """Check a user's arguments; `data` may have `.train` and `.test`, where `test` is None.

    Raises:
        UsageError: for a wrong builder, recipe or number of seeds.
        DataError: for data that cannot be used.
    """
    if is_keras_model(build) or not callable(build):
        hint = "give the function that builds and compiles the model, not what it returns"
        raise UsageError(f"build={type(build).__name__} builds no model", hint)
    if recipe is not None and not isinstance(recipe, Recipe):
        raise UsageError(f"recipe={recipe!r:.80}", "expected a Recipe(...)")
    check_count(seeds, "seeds")
    split = hasattr(data, "train") and hasattr(data, "test")
    train = as_data(data.train if split else data)  # type: ignore[attr-defined]  # checked
    if test is None and split:
        test = data.test  # type: ignore[attr-defined]  # checked
    evaluated = as_data(test) if test is not None else None
    for part in filter(None, (train, evaluated)):
        labels_of(part)  # there must be some
    if evaluated is not None:
        test_rows, train_rows = row_shapes(evaluated.inputs), row_shapes(train.inputs)
        if test_rows != train_rows:
            raise DataError(
                f"test rows of shape {test_rows}, but it learns from rows of shape {train_rows}"
            )
        words = [_outputs(labels_of(part)) for part in (evaluated, train)]
        if words[0] != words[1]:
            raise DataError(
                f"test rows have labels for {words[0]}, but it learns from labels for {words[1]}"
            )
    return TrainingJob(build, train, evaluated, recipe or Recipe(), int(seeds), devices)  # type: ignore[call-overload]  # checked


def placed_by(devices: object, plan: Plan) -> tuple[str, ...]:
    """The devices of a call, or else those of its test; a UsageError if the two differ."""
    if devices is None:
        return plan.devices
    names = device_names(devices, "devices")
    if plan.devices and names != plan.devices:
        raise UsageError(
            f"devices={devices!r:.80} in a test that is for {', '.join(plan.devices)}",
            "drop devices= in the call or in the marker",
        )
    return names
