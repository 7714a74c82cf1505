"""Pruning, quantisation and distillation against numpy, on small models."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.data.dataset import Examples
from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets import keras_models
from pytest_dlperf.targets.conversion import Quantisation
from pytest_dlperf.training.compression import Distillation, MagnitudePruning, NeuronPruning
from pytest_dlperf.training.keras.compression import with_step
from pytest_dlperf.training.keras.distillation import OutputKind, blended
from pytest_dlperf.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_dlperf.training.compression import PostTrainingStep

pytestmark = pytest.mark.tensorflow

FEATURES = 6
RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(96, FEATURES)).astype(np.float32)
TRAIN = Examples(ROWS, (ROWS[:, :3]).argmax(axis=1))
RECIPE = Recipe(epochs=2)


def chain(units: int = 8) -> Any:  # noqa: ANN401 - Keras has no types
    """Two hidden layers, one of them with batch normalisation and dropout behind it."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(units),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.1),
            layers.Dense(units, "relu"),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.5),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def branched() -> Any:  # noqa: ANN401 - Keras has no types
    """A functional model inside another one; one layer is read twice, one by a sum."""
    import keras

    keras.utils.set_random_seed(2)
    layers = keras.layers
    inner_rows = keras.Input((FEATURES,))
    hidden = layers.Dense(8, "relu", name="read_twice")(inner_rows)
    left = layers.Dense(4, name="summed")(hidden)
    right = layers.Dense(4, name="summed_too")(hidden)
    inner = keras.Model(inner_rows, layers.Dense(3)(left + right))
    rows = keras.Input((FEATURES,))
    model = keras.Model(rows, inner(rows))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def done(
    model: Any,  # noqa: ANN401 - Keras has no types
    finish: PostTrainingStep,
    build: Callable[[Mapping[str, object]], Any] | None = None,
    train: Examples = TRAIN,
) -> Any:  # noqa: ANN401 - Keras has no types
    """The model with that done to it; no warning comes of it."""

    def refuse(_: Mapping[str, object]) -> Any:  # noqa: ANN401 - Keras has no types
        pytest.fail("no other model is needed")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return with_step(
            model,
            finish,
            build=build or refuse,
            train=train,
            recipe=RECIPE,
            clock=MonotonicClock(),
            seed=3,
        )


def answers(model: Any) -> NDArray[Any]:  # noqa: ANN401 - Keras has no types
    """To all rows."""
    return np.asarray(model(ROWS, training=False))


FINISHES = (
    Quantisation(),
    MagnitudePruning(0.5, epochs=0),
    NeuronPruning(0.5, epochs=0),
    Distillation({"units": 4}),
)


@pytest.mark.parametrize("finish", FINISHES, ids=lambda finish: type(finish).__name__)
def test_a_finished_model_can_be_kept_and_the_given_one_is_as_before(
    finish: PostTrainingStep, tmp_path: Path
) -> None:
    """It answers the same once loaded again, is compiled as the given one, which did not change."""
    model = chain()
    before = [np.array(weight) for weight in model.get_weights()]

    changed = done(model, finish, lambda given: chain(**given))  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras_models.save(changed, tmp_path / "made.keras")
        again: Any = keras_models.load(tmp_path / "made.keras")

    np.testing.assert_array_equal(answers(again), answers(changed))
    assert changed.loss == again.loss == "sparse_categorical_crossentropy"
    assert set(again.evaluate(ROWS, TRAIN.labels, verbose=0, return_dict=True)) == {
        "accuracy",
        "loss",
    }
    assert (type(changed.optimizer).__name__, changed.optimizer.momentum) == ("SGD", 0.5)
    assert not np.array_equal(answers(changed), answers(model))
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_quantised_weights_are_those_of_the_formula() -> None:
    """`round(w / (max|w| / 127))` for each unit, and the answers are nearly the same."""
    model = chain()

    changed = done(model, Quantisation())

    for old, new in zip(model.layers, changed.layers, strict=True):
        if hasattr(old, "kernel"):
            kernel = np.asarray(old.kernel)
            steps = np.round(kernel / (np.abs(kernel).max(axis=0) / 127))
            (stored,) = (weight for weight in new.get_weights() if weight.dtype == np.int8)
            np.testing.assert_allclose(stored, steps, atol=1)
            assert (stored == steps).mean() > 0.9
    assert np.abs(answers(changed) - answers(model)).max() < 0.05


@pytest.mark.parametrize("epochs", [0, 2])
def test_the_smallest_weights_are_zero_and_stay_zero(epochs: int) -> None:
    """Of each kernel exactly the smallest 3 in 4 weights by numpy; the others are trained on."""
    model = chain()

    changed = done(model, MagnitudePruning(0.75, epochs=epochs))

    for old, new in zip(model.trainable_variables, changed.trainable_variables, strict=True):
        before, after = np.asarray(old), np.asarray(new)
        if before.ndim < 2:
            continue
        gone = np.abs(before) <= np.sort(np.abs(before), axis=None)[round(0.75 * before.size) - 1]
        np.testing.assert_array_equal(after == 0, gone)
        assert np.array_equal(after[~gone], before[~gone]) == (epochs == 0)
        assert new.constraint is None


def test_dead_units_are_missed_by_nobody() -> None:
    """Without the units that answer 0, or that nothing comes out of, all answers are the same."""
    model = chain()
    first, normalised, _, _, second, last = model.layers
    kernel, bias = first.get_weights()
    gamma, beta, mean, variance = normalised.get_weights()
    dead = [0, 3, 4, 7]
    gamma[dead] = beta[dead] = 0
    first.set_weights([kernel, bias])
    normalised.set_weights([gamma, beta + 0.1 * (gamma > 0), mean + 0.2, variance * 2])
    kernel, bias = last.get_weights()
    kernel[[1, 2, 5, 6]] = 0
    last.set_weights([kernel, bias])

    changed = done(model, NeuronPruning(0.5, epochs=0))

    assert [layer.units for layer in changed.layers if hasattr(layer, "units")] == [4, 4, 3]
    np.testing.assert_allclose(answers(changed), answers(model), atol=1e-6)
    alive = [1, 2, 5, 6]
    np.testing.assert_array_equal(
        changed.layers[0].get_weights()[0], first.get_weights()[0][:, alive]
    )
    np.testing.assert_array_equal(
        changed.layers[4].get_weights()[0], second.get_weights()[0][alive][:, dead]
    )


def test_only_units_that_dense_layers_alone_read_are_pruned() -> None:
    """Of a functional model, what a sum reads keeps its size; what is read twice shrinks."""
    model = branched()

    changed = done(model, NeuronPruning(0.75, epochs=1))

    inner = changed.layers[1]
    units = {layer.name: layer.units for layer in inner.layers if hasattr(layer, "units")}
    assert units.pop("read_twice") == 2
    assert sorted(units.values()) == [3, 4, 4]
    kernel, bias = model.layers[1].get_layer("read_twice").get_weights()
    readers = [model.layers[1].get_layer(name) for name in ("summed", "summed_too")]
    out = sum((np.asarray(layer.kernel) ** 2).sum(axis=1) for layer in readers)
    score = ((kernel**2).sum(axis=0) + bias**2) * out
    untrained = done(model, NeuronPruning(0.75, epochs=0)).layers[1].get_layer("read_twice")
    np.testing.assert_array_equal(
        untrained.get_weights()[0], kernel[:, np.sort(np.argsort(score)[-2:])]
    )


def test_a_model_that_shares_its_optimizer_with_another_is_loaded_quietly(tmp_path: Path) -> None:
    """Keras keeps such an optimizer once and misses it the other time: nobody hears of that."""
    import keras

    rows = keras.Input((FEATURES,))
    inner = keras.Model(rows, keras.layers.Dense(3, "softmax")(rows))
    again = keras.Input((FEATURES,))
    whole = keras.Model(again, inner(keras.layers.Rescaling(2.0)(again)))
    inner.compile("adam", "sparse_categorical_crossentropy")
    whole.compile(inner.optimizer, "sparse_categorical_crossentropy")
    whole.fit(ROWS, TRAIN.labels, verbose=0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras_models.save(whole, tmp_path / "whole.keras")
        loaded = keras_models.load(tmp_path / "whole.keras")

    np.testing.assert_array_equal(answers(loaded), answers(whole))


def test_one_unit_stays() -> None:
    """However large the share, a layer keeps its strongest unit."""
    changed = done(chain(), NeuronPruning(0.99, epochs=0))

    assert [layer.units for layer in changed.layers if hasattr(layer, "units")] == [1, 1, 3]


def np_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """The textbook's."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    softmax: NDArray[Any] = powers / powers.sum(axis=-1, keepdims=True)
    return softmax


@pytest.mark.parametrize("loss", ["sparsecategoricalcrossentropy", "binarycrossentropy"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_the_loss_of_distillation_is_the_papers(loss: str, *, from_logits: bool) -> None:
    """`w CE(labels) + (1 - w) T^2 KL(teacher at T || student at T)`, computed by numpy."""
    finish = Distillation(weight=0.3, temperature=2.5)
    two = loss == "binarycrossentropy"
    logits = RNG.normal(size=(7, 1 if two else 4)).astype(np.float32)
    every = np.concatenate([np.zeros_like(logits), logits], axis=1) if two else logits
    classes = every.shape[1]
    labels = np.eye(classes, dtype=np.float32)[RNG.integers(0, classes, 7)]
    teacher = np_softmax(RNG.normal(size=(7, classes)))
    outputs = logits if from_logits else (np_softmax(every)[:, 1:] if two else np_softmax(every))

    values = blended(OutputKind(loss, from_logits), finish)(np.hstack([labels, teacher]), outputs)

    student = np_softmax(every / 2.5)
    hard = -(labels * np.log(np_softmax(every))).sum(axis=1)
    soft = (teacher * np.log(teacher / student)).sum(axis=1)
    np.testing.assert_allclose(np.asarray(values), 0.3 * hard + 0.7 * 2.5**2 * soft, rtol=1e-4)


def test_a_student_of_the_labels_alone_is_trained_as_ever() -> None:
    """With all weight on the labels it is what plain training makes of it."""
    from pytest_dlperf.training.keras.fit import fit

    plain = chain(4)
    fit(plain, TRAIN, None, RECIPE, MonotonicClock(), lambda _: None, 3)

    changed = done(chain(), Distillation({"units": 4}, weight=1), lambda given: chain(**given))  # type: ignore[arg-type]

    assert changed.layers[0].units == 4
    np.testing.assert_allclose(answers(changed), answers(plain), atol=1e-4)


def test_a_student_of_the_teacher_alone_sees_no_labels() -> None:
    """With no weight on the labels, it learns, and wrong ones make no difference."""
    finish = Distillation({"units": 4}, weight=0)
    wrong = Examples(TRAIN.inputs, (TRAIN.labels + 1) % 3)
    teacher = chain()

    def student(given: Mapping[str, object]) -> Any:  # noqa: ANN401 - Keras has no types
        return chain(**given)  # type: ignore[arg-type]

    changed = answers(done(teacher, finish, student))

    np.testing.assert_array_equal(answers(done(teacher, finish, student, wrong)), changed)
    assert (
        np.abs(changed - answers(teacher)).mean()
        < np.abs(answers(chain(4)) - answers(teacher)).mean()
    )


def test_what_does_not_apply_is_refused() -> None:
    """A message says why: no hidden layer, no kernel to round, no classes, other classes."""
    import keras

    layers = keras.layers
    single = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(1)])
    single.compile("sgd", "mean_squared_error")
    scaled = keras.Sequential([keras.Input((FEATURES,)), layers.Rescaling(2.0)])
    four = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(4, "softmax")])
    four.compile("sgd", "sparse_categorical_crossentropy")

    with pytest.raises(UsageError, match="no hidden Dense layer of which 50% of the units"):
        done(single, NeuronPruning(0.5))
    with pytest.raises(UsageError, match="no hidden Dense layer of which 1% of the units"):
        done(chain(), NeuronPruning(0.01))
    with pytest.raises(UsageError, match="no weights of which 50% could be pruned"):
        done(scaled, MagnitudePruning(0.5))
    with pytest.raises(UsageError, match="no layer that Keras quantises"):
        done(scaled, Quantisation())
    with pytest.raises(UsageError, match="loss 'mean_squared_error' cannot be distilled"):
        done(single, Distillation())
    with pytest.raises(UsageError, match=r"with shape \(rows, 3\), the smaller one with \(rows, 4"):
        done(chain(), Distillation(), lambda _: four)
    with pytest.raises(UsageError, match="cannot be done to a model"):
        done(single, "pruned")  # type: ignore[arg-type]
