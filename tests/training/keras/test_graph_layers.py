"""Layers in front of Keras models: same answers, kept whole, and active in training only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.data.normalisation import Normalisation
from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets import keras_models
from pytest_dlperf.targets.conversion import as_target
from pytest_dlperf.training.graph_layers import Augmentation, InGraphNormalisation
from pytest_dlperf.training.keras.fit import built, fit
from pytest_dlperf.training.keras.graph_layers import with_graph_layers
from pytest_dlperf.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_dlperf.training.graph_layers import GraphLayer

pytestmark = pytest.mark.tensorflow

_RANDOM = np.random.default_rng(0)
FLAT = Examples(_RANDOM.normal(5.0, 3.0, (60, 64)).astype(np.float32), np.arange(60) % 3)
IMAGES = Examples(_RANDOM.normal(5.0, 3.0, (60, 8, 8, 2)).astype(np.float32), np.arange(60) % 3)
for _examples in (FLAT, IMAGES):
    _examples.inputs[:, 0] = 7.0  # features that are constant
TEXTS = Examples(_RANDOM.integers(0, 40, (60, 12)), np.arange(60) % 3)


def build(*, ids: bool = False, loss: object = "sparse_categorical_crossentropy") -> Any:  # noqa: ANN401 - Keras has no types
    """A tiny classifier, compiled."""
    from keras import Sequential, layers

    first = [layers.Embedding(40, 4)] if ids else []
    model = Sequential([*first, layers.Flatten(), layers.Dense(3, activation="softmax")])
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def answers(model: Any, rows: NDArray[Any], *, training: bool = False) -> NDArray[Any]:  # noqa: ANN401 - Keras has no types
    """What a model makes of rows."""
    outputs: NDArray[Any] = model(rows, training=training).numpy()
    return outputs


def front_alone(front: GraphLayer, examples: Examples) -> Any:  # noqa: ANN401 - Keras has no types
    """The layers of a front, behind which nothing changes."""
    from keras import Sequential, layers

    return with_graph_layers(Sequential([layers.Identity()]), [front], examples)


@pytest.mark.parametrize("kind", ["standard", "min-max"])
@pytest.mark.parametrize("examples", [FLAT, IMAGES], ids=["flat", "images"])
def test_raw_rows_are_answered_as_normalised_ones(
    kind: Literal["standard", "min-max"], examples: Examples
) -> None:
    """The layer makes of raw rows what normalisation ahead of time does.

    A model that was trained behind it says the same, within what float32 can tell; features that
    are constant in training do no harm.
    """
    split = Split(examples, Examples(examples.inputs[:9] + 1.5, examples.labels[:9]))
    model = build()
    whole: Any = with_graph_layers(model, [InGraphNormalisation(kind)], split.train)
    whole.fit(split.train.inputs, split.train.labels, verbose=0)

    ahead = answers(model, Normalisation(kind)(split).test.inputs)

    np.testing.assert_allclose(answers(whole, split.test.inputs), ahead, rtol=1e-4, atol=1e-6)
    assert np.abs(answers(model, split.test.inputs) - ahead).max() > 0.01


@pytest.mark.parametrize(
    ("front", "examples"),
    [
        (Augmentation.image(shift=0.2, rotation=0.1, zoom=0.2), IMAGES),
        (Augmentation.image(shift=0.2, rotation=0.1, zoom=0.2, shape=(8, 8)), FLAT),
        (Augmentation.noise(deviation=0.5), FLAT),
        (Augmentation.text(dropout=0.3), TEXTS),
    ],
    ids=["images", "flat images", "noise", "text"],
)
def test_augmentation_is_there_in_training_only(
    front: Augmentation, examples: Examples, tmp_path: Path
) -> None:
    """Requests get bit for bit what they get without it.

    So they do when the model was kept in Keras' format and loaded with nothing that could run
    code; and training goes on to see other rows.
    """
    inner = build(ids=examples is TEXTS)
    whole: Any = with_graph_layers(inner, [front], examples)
    whole.fit(examples.inputs, examples.labels, verbose=0)

    plain = answers(inner, examples.inputs)
    keras_models.save(whole, tmp_path / "whole.keras")
    loaded: Any = keras_models.load(tmp_path / "whole.keras")

    np.testing.assert_array_equal(answers(whole, examples.inputs), plain)
    np.testing.assert_array_equal(answers(loaded, examples.inputs), plain)
    assert np.any(answers(whole, examples.inputs, training=True) != plain)
    assert np.any(answers(loaded, examples.inputs, training=True) != plain)


@pytest.mark.parametrize("runtime", ["litert", "onnx"])
def test_augmentation_is_in_no_other_runtime(runtime: Literal["litert", "onnx"]) -> None:
    """Converters are told that nobody trains; Keras' own layers would go on augmenting."""
    for module in ("ai_edge_litert", "onnxruntime", "tf2onnx"):
        pytest.importorskip(module)
    front = Augmentation.image(shift=0.2, rotation=0.1, zoom=0.2, shape=(8, 8))
    inner = build()
    whole = with_graph_layers(inner, [front], FLAT)

    target: Any = as_target(whole, runtime, FLAT.inputs)

    plain = answers(inner, FLAT.inputs)
    np.testing.assert_allclose(target.infer(FLAT.inputs), plain, rtol=1e-4, atol=1e-6)


def test_images_move_no_further_than_they_may() -> None:
    """One bright pixel moves by at most an eighth of 8 pixels; an even image stays as it is."""
    pixel = np.zeros((200, 8, 8, 1), np.float32)
    pixel[:, 4, 4] = 1.0
    even = np.full((20, 8, 8, 1), 3.0, np.float32)
    examples = Examples(pixel, np.zeros(200))

    moved = answers(front_alone(Augmentation.image(shift=0.125), examples), pixel, training=True)
    still = answers(
        front_alone(Augmentation.image(shift=0.2, rotation=0.1, zoom=0.2), examples),
        even,
        training=True,
    )

    assert moved[:, 3:6, 3:6].sum() == pytest.approx(moved.sum())
    assert moved[:, 4, 3].max() > 0.1
    assert moved[:, 4, 5].max() > 0.1
    np.testing.assert_allclose(still, even, rtol=1e-5)


def test_words_are_dropped_and_filling_is_not() -> None:
    """About the asked share becomes the unknown id; nothing else changes, and 0 stays."""
    ids = np.tile(np.array([0, 2, 3, 4, 5]), (2000, 1))
    front = front_alone(Augmentation.text(dropout=0.3, unknown=1), Examples(ids, ids[:, 0]))

    seen = answers(front, ids, training=True)

    dropped = seen != ids
    assert np.all(seen[dropped] == 1)
    assert not dropped[:, 0].any()
    assert 0.27 < dropped[:, 1:].mean() < 0.33  # 8,000 ids: 0.3, give or take 0.005
    assert np.issubdtype(seen.dtype, np.integer)


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    """And no bias."""
    rows = np.full((500, 20), 2.0, np.float32)
    front = front_alone(Augmentation.noise(deviation=0.5), Examples(rows, rows[:, 0]))

    noise = answers(front, rows, training=True) - rows

    assert noise.std() == pytest.approx(0.5, abs=0.02)
    assert noise.mean() == pytest.approx(0.0, abs=0.02)


def test_it_is_compiled_as_the_model_was() -> None:
    """Optimizer, a loss of the user's own, metrics and steps per execution stay."""
    from keras import ops, optimizers

    def loss(labels: object, outputs: object) -> object:
        return ops.mean(ops.square(outputs - ops.one_hot(ops.cast(labels, "int32"), 3)))

    model = build()
    model.compile(optimizers.SGD(0.25), loss, metrics=["accuracy"], steps_per_execution=2)

    whole: Any = with_graph_layers(model, [Augmentation.noise(deviation=0.1)], FLAT)
    logs = whole.fit(FLAT.inputs, FLAT.labels, verbose=0).history

    assert isinstance(whole.optimizer, optimizers.SGD)
    assert float(whole.optimizer.learning_rate) == 0.25
    assert whole.loss is loss
    assert whole.steps_per_execution == 2
    assert set(logs) == {"accuracy", "loss"}


def test_the_same_seed_gives_the_same_training() -> None:
    """What augmentation draws comes from the seed too."""
    fronts = [InGraphNormalisation(), Augmentation.image(shift=0.1, shape=(8, 8))]
    recipe = Recipe(epochs=1)

    def trained(seed: int) -> NDArray[Any]:
        whole = with_graph_layers(built(build, {}, recipe, seed), fronts, FLAT)
        fit(whole, FLAT, None, recipe, MonotonicClock(), lambda _: None, seed)
        return answers(whole, FLAT.inputs)

    np.testing.assert_array_equal(trained(1), trained(1))
    assert np.any(trained(2) != trained(1))


def test_a_sequential_model_stays_one_row_of_layers() -> None:
    """Its layers come behind the front as they are; fronts that do nothing leave the very model."""
    from keras import Sequential

    model = build()
    front = Augmentation.noise(deviation=0.1)

    behind: Any = with_graph_layers(model, [front], FLAT)
    twice: Any = with_graph_layers(behind, [front], FLAT)

    assert isinstance(behind, Sequential)
    assert behind.layers[1:] == model.layers
    assert [layer.name for layer in twice.layers[:2]] == ["front_2", "front"]
    assert with_graph_layers(model, [InGraphNormalisation("none")], FLAT) is model
    assert with_graph_layers(model, [], FLAT) is model


def test_a_functional_model_is_kept_with_its_optimizer(tmp_path: Path) -> None:
    """Weights are shared, and what is loaded has moved the optimizer as far as what was kept."""
    from keras import Input, Model, layers

    inputs = Input((64,))
    model: Any = Model(inputs, layers.Dense(3)(inputs))
    model.compile("adam", "mse")

    whole: Any = with_graph_layers(model, [InGraphNormalisation()], FLAT)
    whole.fit(FLAT.inputs, np.zeros((60, 3)), verbose=0)
    keras_models.save(whole, tmp_path / "whole.keras")
    loaded: Any = keras_models.load(tmp_path / "whole.keras")

    normalised = Normalisation()(Split(FLAT, FLAT)).test.inputs
    np.testing.assert_allclose(
        answers(loaded, FLAT.inputs), answers(model, normalised), rtol=1e-4, atol=1e-5
    )
    assert int(loaded.optimizer.iterations) == 2
    for variable, other in zip(loaded.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), other.numpy())


def _compiled_by_xla() -> Any:  # noqa: ANN401 - Keras has no types
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=True)
    return model


def _with_its_own_step() -> Any:  # noqa: ANN401 - Keras has no types
    from keras import Sequential, layers

    class Own(Sequential):  # type: ignore[misc]  # Keras has no types
        def train_step(self, data: object) -> object:
            return super().train_step(data)

    return Own([layers.Dense(3)])


def _with_two_inputs() -> Any:  # noqa: ANN401 - Keras has no types
    from keras import Input, Model, layers

    inputs = [Input((64,)), Input((64,))]
    return Model(inputs, layers.Add()(inputs))


@pytest.mark.parametrize(
    ("make", "fronts", "examples", "said"),
    [
        (build, [Augmentation.image(shift=0.1)], FLAT, "rows of shape (64,) are no such images"),
        (build, [Augmentation.image(shift=0.1, shape=(8, 9))], FLAT, "are no such images"),
        (build, [Augmentation.text(dropout=0.1)], FLAT, "are no token ids"),
        (
            build,
            [InGraphNormalisation(), Augmentation.text(dropout=0.1)],
            TEXTS,
            "token ids are no measured values",
        ),
        (build, [InGraphNormalisation(), InGraphNormalisation()], FLAT, "more than once"),
        (build, ["noise"], FLAT, "'noise' cannot be put in front of a model"),
        (_compiled_by_xla, [Augmentation.image(shift=0.1)], IMAGES, "cannot be compiled by XLA"),
        (_with_its_own_step, [InGraphNormalisation()], FLAT, "has its own train_step"),
        (_with_two_inputs, [InGraphNormalisation()], FLAT, "has 2 inputs"),
    ],
)
def test_fronts_that_do_not_fit_are_refused(
    make: Callable[[], Any], fronts: list[Any], examples: Examples, said: str
) -> None:
    """Before anything is trained."""
    with pytest.raises(UsageError) as refused:
        with_graph_layers(make(), fronts, examples)

    assert said in str(refused.value)
