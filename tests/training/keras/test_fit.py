"""Training with Keras: optimizers against numpy, schedules against Keras, and every other setting.

The model is softmax regression, whose gradient is `X^T (P - Y) / n`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.data.dataset import Examples
from pytest_dlperf.errors import TargetError, TrainingError, UsageError
from pytest_dlperf.ragged import Ragged
from pytest_dlperf.training.keras.fit import built, compiled, fit, schedule_for
from pytest_dlperf.training.recipe import (
    CosineDecay,
    ExponentialDecay,
    PiecewiseConstant,
    Recipe,
    Schedule,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.training.summary import Epoch, TrainingRun

pytestmark = pytest.mark.tensorflow

FEATURES, CLASSES, ROWS = 4, 3, 32
_RANDOM = np.random.default_rng(0)
INPUTS = _RANDOM.normal(size=(ROWS, FEATURES)).astype(np.float32)
LABELS = _RANDOM.integers(0, CLASSES, ROWS)
DATA = Examples(INPUTS, LABELS)
HUGE = Examples(INPUTS * np.float32(1e30), LABELS)
"""Rows that are not normalised."""


def regression(**compiling: Any) -> Any:  # noqa: ANN401 - a Keras model
    """Softmax regression, compiled with its loss."""
    import keras

    model = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(CLASSES, activation="softmax")]
    )
    model.compile(**{"loss": "sparse_categorical_crossentropy", **compiling})
    return model


@dataclass
class CountingClock:
    """Time that passes with each reading."""

    step_ns: int = 1_000_000
    now: int = 0

    def now_ns(self) -> int:
        """A step later than before."""
        self.now += self.step_ns
        return self.now

    def sleep_until_ns(self, when_ns: int) -> None:
        """Never called."""
        raise NotImplementedError


def trained(  # noqa: PLR0913, PLR0917 - what `fit` takes
    recipe: Recipe,
    test: Examples | None = None,
    clock: CountingClock | None = None,
    on_epoch_end: Callable[[Epoch], None] = lambda _: None,
    data: Examples = DATA,
    seed: int = 0,
) -> tuple[Any, TrainingRun]:
    """Softmax regression and its training."""
    model = built(regression, {}, recipe, seed)
    return model, fit(model, data, test, recipe, clock or MonotonicClock(), on_epoch_end, seed)


def weights(model: Any) -> list[NDArray[np.float64]]:  # noqa: ANN401 - a Keras model
    """In double precision."""
    return [np.asarray(weight, dtype=np.float64) for weight in model.get_weights()]


def assert_same_weights(model: object, expected: list[NDArray[np.float64]], rtol: float) -> None:
    """Each weight is as expected, up to rounding."""
    for weight, wanted in zip(weights(model), expected, strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=rtol, atol=1e-5)


def gradients(weights: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Of the mean cross-entropy over all rows."""
    scores = INPUTS @ weights[0] + weights[1]
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    off = (shares - np.eye(CLASSES)[LABELS]) / ROWS
    return [INPUTS.T @ off, off.sum(axis=0)]


RATE, STEPS, TINY = 0.1, 4, 1e-7


class Plain:
    """`theta = theta - alpha * grad J`."""

    def __call__(self, step: int, weight: Any, gradient: Any) -> Any:  # noqa: ANN401 - arrays
        """The weight after a step, counted from 1."""
        del step
        return weight - RATE * gradient


class Momentum:
    """A velocity that keeps 90 % of itself."""

    velocity: Any = 0.0

    def __call__(self, step: int, weight: Any, gradient: Any) -> Any:  # noqa: ANN401 - arrays
        """The weight after a step, counted from 1."""
        del step
        self.velocity = 0.9 * self.velocity - RATE * gradient
        return weight + self.velocity


class RootMeanSquare:
    """Divided by the root of the mean square of the gradients, with 50 % momentum on that."""

    square: Any = 0.0
    velocity: Any = 0.0

    def __call__(self, step: int, weight: Any, gradient: Any) -> Any:  # noqa: ANN401 - arrays
        """The weight after a step, counted from 1."""
        del step
        self.square = 0.9 * self.square + 0.1 * gradient**2
        self.velocity = 0.5 * self.velocity + RATE * gradient / np.sqrt(self.square + TINY)
        return weight - self.velocity


class Adam:
    """Kingma and Ba 2015, as at the end of section 2; with decay, Loshchilov and Hutter 2019."""

    first: Any = 0.0
    second: Any = 0.0

    def __init__(self, decay: float = 0.0) -> None:
        self.decay = decay

    def __call__(self, step: int, weight: Any, gradient: Any) -> Any:  # noqa: ANN401 - arrays
        """The weight after a step, counted from 1."""
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        rate = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        decayed = weight * (1 - RATE * self.decay)
        return decayed - rate * self.first / (np.sqrt(self.second) + TINY)


OPTIMIZERS: list[tuple[dict[str, Any], Callable[[], Any]]] = [
    ({"optimizer": "gradient_descent"}, Plain),
    ({"optimizer": "sgd", "momentum": 0.9}, Momentum),
    ({"optimizer": "rmsprop", "momentum": 0.5}, RootMeanSquare),
    ({"optimizer": "adam"}, Adam),
    ({"optimizer": "adamw", "weight_decay": 0.3}, lambda: Adam(0.3)),
]


@pytest.mark.parametrize(
    ("fields", "rule"), OPTIMIZERS, ids=[f["optimizer"] for f, _ in OPTIMIZERS]
)
def test_an_optimizer_goes_where_numpy_goes(
    fields: dict[str, Any], rule: Callable[[], Any]
) -> None:
    """Step by step, each over all rows: every weight is where the formula has it."""
    whole = {} if fields["optimizer"] == "gradient_descent" else {"batch_size": ROWS}
    recipe = Recipe(STEPS, learning_rate=RATE, **whole, **fields)
    model: Any = built(regression, {}, recipe, 0)
    expected = weights(model)
    rules = [rule() for _ in expected]
    steps = []

    def compare(epoch: Epoch) -> None:
        slopes = gradients(expected)
        expected[:] = [
            update(epoch.number, weight, slope)
            for update, weight, slope in zip(rules, expected, slopes, strict=True)
        ]
        assert_same_weights(model, expected, rtol=1e-4)
        steps.append(epoch.number)

    fit(model, DATA, None, recipe, MonotonicClock(), compare, 0)

    assert steps == [1, 2, 3, 4]


def test_gradient_descent_takes_all_rows_at_once() -> None:
    """One step an epoch, whatever the number of rows."""
    _, run = trained(Recipe(3, optimizer="gradient_descent"))

    assert run.steps.rows.tolist() == [ROWS, ROWS]


SCHEDULES = [
    ExponentialDecay(0.8, 0.5, 10),
    CosineDecay(0.4, 20),
    CosineDecay(0.4, 20, 5),
    PiecewiseConstant([3, 10], [3.0, 2.0, 1.0]),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_schedule_has_keras_rates(schedule: Schedule) -> None:
    """At every step, and beyond the last."""
    keras_schedule: Any = schedule_for(schedule)

    rates = [float(keras_schedule(step)) for step in range(30)]

    assert rates == pytest.approx([schedule.at(step) for step in range(30)], abs=1e-6)


def test_a_schedule_is_followed() -> None:
    """Gradient descent with another rate from the third step on."""
    schedule = PiecewiseConstant([1], [0.1, 1.0])
    recipe = Recipe(3, optimizer="gradient_descent", learning_rate=schedule)
    expected = weights(built(regression, {}, recipe, 0))

    model, _ = trained(recipe)

    for step in range(3):
        slopes = gradients(expected)
        expected = [w - schedule.at(step) * g for w, g in zip(expected, slopes, strict=True)]
    assert_same_weights(model, expected, rtol=1e-3)


def test_a_schedule_of_a_users_own() -> None:
    """Refused, with what can be done."""

    class Mine(Schedule):
        __slots__ = ()

        def at(self, step: int) -> float:
            return 1 / (step + 1)

    with pytest.raises(UsageError, match="no schedule that Keras has"):
        built(regression, {}, Recipe(optimizer="sgd", learning_rate=Mine()), 0)


def test_batches() -> None:
    """Of ten rows, and what is left; the first step of each size is not among the others."""
    _, run = trained(Recipe(2, batch_size=10), clock=CountingClock())

    assert run.steps.rows.tolist() == [10, 10, 10, 10, 10, 2]
    assert len(run.epochs) == 2
    assert run.first_step_seconds > 0
    assert sum(epoch.seconds for epoch in run.epochs) == pytest.approx(run.steps.seconds)


def test_steps_in_one_call() -> None:
    """Two steps of eight rows at a time, and the same weights as one at a time."""
    recipe = Recipe(2, batch_size=8)
    model, singly = trained(recipe)
    other, in_pairs = trained(replace(recipe, steps_per_execution=2))

    assert singly.steps.rows.tolist() == [8] * 7
    assert in_pairs.steps.rows.tolist() == [16] * 3
    assert_same_weights(other, weights(model), rtol=1e-4)


def test_xla() -> None:
    """XLA compiles the step, and the weights are as without."""
    plain, _ = trained(Recipe(2, batch_size=16))
    model, _ = trained(Recipe(2, batch_size=16, jit_compile=True))

    assert (plain.jit_compile, model.jit_compile) == (False, True)
    assert_same_weights(model, weights(plain), rtol=1e-3)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_precision_is_the_models_alone(precision: Any) -> None:  # noqa: ANN401 - a literal
    """Layers compute in it on weights of 32 bits; what is built afterwards does not."""
    import keras

    model: Any = built(regression, {}, Recipe(precision=precision), 0)

    assert model.layers[-1].compute_dtype == precision.removeprefix("mixed_")
    assert model.weights[0].dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    assert regression().layers[-1].compute_dtype == "float32"


def test_precision_does_not_stay_where_building_fails() -> None:
    """The next model has its own again."""
    import keras

    def failing() -> object:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        built(failing, {}, Recipe(precision="mixed_bfloat16"), 0)

    assert keras.config.dtype_policy().name == "float32"


def test_float16_is_scaled() -> None:
    """Gradients of 16 bits vanish unless the loss is scaled; whichever optimizer is chosen."""
    model: Any = built(regression, {}, Recipe(precision="mixed_float16", optimizer="adam"), 0)

    assert type(model.optimizer).__name__ == "LossScaleOptimizer"


def test_what_a_recipe_does_not_say_stays() -> None:
    """A loss that is a function without a name, metrics, and the optimizer's own settings."""
    import keras

    def build() -> object:
        return regression(
            loss=lambda _, answer: keras.ops.mean(answer**2),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="hit")],
            optimizer=keras.optimizers.SGD(0.5, momentum=0.7, nesterov=True),
        )

    recipe = Recipe(1, learning_rate=0.25)
    model: Any = built(build, {}, recipe, 0)
    config = model.optimizer.get_config()

    assert (config["momentum"], config["nesterov"]) == (0.7, True)
    assert float(model.optimizer.learning_rate) == 0.25
    run = fit(model, DATA, None, recipe, MonotonicClock(), lambda _: None, 0)
    assert set(run.epochs[0].logs) == {"loss", "hit"}
    untouched: Any = regression()
    before = untouched.optimizer
    assert compiled(untouched, Recipe(epochs=9)).optimizer is before


def test_a_seed_makes_the_same_model_again() -> None:
    """First weights and the order of rows; another seed makes another one."""
    runs = [trained(Recipe(1, batch_size=5), seed=seed) for seed in (7, 7, 8)]

    first, same, other = (weights(model)[0] for model, _ in runs)
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0


def test_asking_the_test_rows_takes_no_time() -> None:
    """On a clock that counts its readings, training takes as long with test rows as without."""
    recipe, epochs = Recipe(3, batch_size=8), list[Any]()
    _, without = trained(recipe, clock=CountingClock())

    model, run = trained(recipe, DATA, CountingClock(), epochs.append)

    assert run.steps.seconds == without.steps.seconds
    assert [(epoch.number, epoch.of) for epoch in epochs] == [(1, 3), (2, 3), (3, 3)]
    kernel, bias = weights(model)
    right = (INPUTS @ kernel + bias).argmax(axis=1) == LABELS
    assert epochs[-1].logs["val_accuracy"] == pytest.approx(right.mean())
    assert "val_loss" not in without.epochs[0].logs


def test_what_diverges_ends_at_once() -> None:
    """In the epoch in which the loss is no number any more, with what it was trained with."""
    epochs: list[Epoch] = []
    recipe = Recipe(50, optimizer="gradient_descent", learning_rate=1e9)

    with pytest.raises(TrainingError, match=r"the loss is nan in epoch \d of 50") as caught:
        trained(recipe, on_epoch_end=epochs.append, data=HUGE)

    assert len(epochs) < 10
    assert "trained with SGD, learning rate 1e+09, batches of 32" in str(caught.value)
    assert str(recipe) in str(caught.value)


def test_what_diverges_in_a_long_epoch() -> None:
    """The loss is looked at four times a second, so that the epoch need not end."""
    recipe = Recipe(2, batch_size=1, optimizer="sgd", learning_rate=1e9)

    with pytest.raises(TrainingError, match=r"epoch 1 of 2, before step \d+ of 32"):
        trained(recipe, clock=CountingClock(step_ns=300_000_000), data=HUGE)


def uncompiled() -> object:
    """A model without a loss."""
    import keras

    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(CLASSES)])


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda: 3, r"build\(\) returned int: expected a compiled Keras model"),
        (uncompiled, "built, but not compiled: its loss is not known"),
    ],
)
def test_what_is_no_compiled_model(build: Callable[[], object], problem: str) -> None:
    """Said before anything is trained."""
    with pytest.raises(UsageError, match=problem):
        built(build, {}, Recipe(optimizer="adam"), 0)


@pytest.mark.parametrize("shares", ["model", "layer"])
def test_weights_of_an_earlier_model(shares: str) -> None:
    """Seeds, and second measurements, would go on with what the first one has trained."""
    import keras

    given = regression()

    def build() -> object:
        if shares == "model":
            return given
        model = keras.Sequential([keras.Input((FEATURES,)), *given.layers])
        model.compile(loss="sparse_categorical_crossentropy")
        return model

    built(build, {}, Recipe(), 0)
    with pytest.raises(UsageError, match="with weights that an earlier call has returned"):
        built(build, {}, Recipe(), 1)


def test_frozen_weights_may_be_shared() -> None:
    """As those of a backbone that is loaded once."""
    import keras

    frozen = keras.layers.Dense(FEATURES)
    frozen.trainable = False

    def build() -> object:
        model = keras.Sequential([keras.Input((FEATURES,)), frozen, keras.layers.Dense(CLASSES)])
        model.compile(loss="sparse_categorical_crossentropy")
        return model

    kept = [built(build, {}, Recipe(), seed) for seed in (0, 1)]
    assert kept[0] is not kept[1]


def test_rows_that_do_not_fit() -> None:
    """An error of ours, with what Keras says."""
    model = built(regression, {}, Recipe(1), 0)

    with pytest.raises(TargetError, match=r"could not be fitted: ValueError: .*shape"):
        fit(model, Examples(INPUTS[:, :2], LABELS), None, Recipe(1), MonotonicClock(), print, 0)


@pytest.mark.parametrize("name", ["max_epochs", "max_steps_per_epoch"])
def test_keras_own_limits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that Keras cuts short without a word would be measured as a whole one."""
    import keras

    model = built(regression, {}, Recipe(1), 0)
    monkeypatch.setattr(keras.config, name, lambda: 1)

    with pytest.raises(UsageError, match=f"unset KERAS_{name.upper()}"):
        fit(model, DATA, None, Recipe(1), MonotonicClock(), print, 0)


def _tagger(seed: int) -> Any:  # noqa: ANN401 - Keras has no types
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((None, FEATURES)), keras.layers.Dense(CLASSES, activation="softmax")]
    )
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd")
    return model


def _weights(examples: Examples) -> NDArray[np.float64]:
    model = _tagger(0)
    fit(model, examples, None, Recipe(3, batch_size=8), MonotonicClock(), lambda _: None, 0)
    return np.concatenate([each.ravel() for each in model.get_weights()])


def test_labels_of_positions() -> None:
    """As without padding: rows of one length as Keras' own arrays, and padding changes nothing."""
    inputs = _RANDOM.normal(size=(24, 5, FEATURES)).astype(np.float32)
    tags = _RANDOM.integers(0, CLASSES, (24, 5))

    arrays = _weights(Examples(inputs, tags))
    ragged = _weights(Examples(inputs, Ragged(list(tags))))
    padded = _weights(
        Examples(Ragged(list(inputs), lengths=(3, 9)), Ragged(list(tags), pad=-1, lengths=(7,)))
    )

    np.testing.assert_array_equal(ragged, arrays)
    np.testing.assert_allclose(padded, arrays, rtol=1e-5)
