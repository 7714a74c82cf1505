"""Keras models and `tf.function`s with several inputs and outputs, and with text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.ragged import Ragged

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_dlperf.results.measurement import Measurement

pytestmark = pytest.mark.tensorflow

RANDOM = np.random.default_rng(0)
USERS, ITEMS = RANDOM.integers(0, 50, 300), RANDOM.integers(0, 80, 300)


@pytest.fixture(scope="module")
def recommender() -> Any:  # noqa: ANN401 - Keras has no types
    """Scores of pairs of a user and an item, as two outputs."""
    import keras

    keras.utils.set_random_seed(0)
    user = keras.Input((), dtype="int64", name="user")
    item = keras.Input((), dtype="int64", name="item")
    both = keras.layers.concatenate(
        [keras.layers.Embedding(50, 8)(user), keras.layers.Embedding(80, 8)(item)]
    )
    hidden = keras.layers.Dense(16, activation="relu")(both)
    outputs = {
        "score": keras.layers.Dense(1, activation="sigmoid", name="score")(hidden),
        "embedding": hidden,
    }
    return keras.Model({"user": user, "item": item}, outputs)


@pytest.fixture(scope="module")
def saved(recommender: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401
    """The recommender, exported and loaded."""
    import tensorflow as tf

    folder = str(tmp_path_factory.mktemp("saved"))
    recommender.export(folder, verbose=False)
    return tf.saved_model.load(folder)


def measured(target: object, data: object, **options: Any) -> Measurement:  # noqa: ANN401 - any option
    """A short measurement on the real clock."""
    chosen = {"scenario": ClosedLoop(16), "duration": 0.2, **options}
    bench = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    return measure(target, as_data(data), plan([Options(**chosen)]), bench, test="t", name="")


def labels_of(model: Any, inputs: Any) -> np.ndarray:  # noqa: ANN401
    """What the model itself says."""
    return (np.asarray(model(inputs)["score"])[:, 0] > 0.5).astype(int)


@pytest.mark.parametrize(
    "serving",
    [
        Serving(),
        Serving(8, replicas=2),
        Serving(8, allowed_batch_sizes=(4, 8)),
        Serving(8, devices=("cpu:0",)),
        Serving(8, intra_op_threads=1),
    ],
    ids=["default", "two replicas", "padded", "on a device", "in a process"],
)
def test_two_inputs_and_two_outputs(recommender: Any, serving: Serving) -> None:  # noqa: ANN401
    """Each row gets its own score, however it is served."""
    inputs = {"user": USERS, "item": ITEMS}

    found = measured(
        recommender, (inputs, labels_of(recommender, inputs)), serving=serving, output="score"
    )

    assert found.metrics["accuracy"].value == 1
    assert found.errors == ()
    assert not any("mix-ups" in note for note in found.notes)


def test_inputs_in_a_list() -> None:
    """A model whose inputs are a list takes a list or a tuple, without a warning."""
    import keras

    user, item = keras.Input((), dtype="int64"), keras.Input((), dtype="int64")
    embedded = [keras.layers.Embedding(80, 4)(each) for each in (user, item)]
    model = keras.Model([user, item], keras.layers.Dot(1)(embedded))

    for inputs in ([USERS, ITEMS], (USERS, ITEMS)):
        found = measured(model, (inputs, np.zeros(300)), task="regression")
        assert found.errors == ()


def test_labels_need_an_output(recommender: Any) -> None:  # noqa: ANN401
    """The outputs are named, and what to give."""
    inputs = {"user": USERS, "item": ITEMS}

    with pytest.raises(UsageError, match=r"several outputs \(score, embedding\)") as caught:
        measured(recommender, (inputs, np.zeros(300)))

    assert "output='score'" in str(caught.value)
    assert measured(recommender, (inputs, None)).errors == ()


@pytest.mark.parametrize("text", [str, bytes])
def test_text(text: type) -> None:
    """Strings go to a model that takes them, whole or in a dict."""
    import keras
    import tensorflow as tf

    words = ["good film", "bad film", "good", "bad"] * 50
    vectorise = keras.layers.TextVectorization(output_mode="multi_hot")
    vectorise.adapt(words)
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(vectorise(inputs)))
    rows = [word if text is str else word.encode() for word in words]
    expected = np.asarray(model(tf.constant(words))).argmax(axis=1)

    found = measured(model, (rows, expected), serving=Serving(8, allowed_batch_sizes=(4, 8)))

    assert found.metrics["accuracy"].value == 1
    assert found.errors == ()


def test_functions_of_several_arguments() -> None:
    """By name or by place; the batch as a whole where it takes one argument."""
    import tensorflow as tf

    @tf.function
    def by_name(user: Any, item: Any) -> Any:  # noqa: ANN401 - tensors
        return tf.cast(user + item, tf.float32)

    @tf.function
    def whole(batch: Any) -> Any:  # noqa: ANN401
        return tf.cast(batch["user"] + batch["item"], tf.float32)

    spec = tf.TensorSpec((None,), tf.int64)
    concrete = by_name.get_concrete_function(user=spec, item=spec)
    expected = (USERS + ITEMS).astype(float)
    named = {"item": ITEMS, "user": USERS}
    for target, inputs in (
        (by_name, named),
        (by_name, (USERS, ITEMS)),
        (whole, named),
        (concrete, named),
    ):
        found = measured(target, (inputs, expected), task="regression")
        assert found.metrics["loss"].value == pytest.approx(0)


def test_the_signature_of_a_saved_model(recommender: Any, saved: Any) -> None:  # noqa: ANN401
    """It takes its inputs by name."""
    inputs = {"user": USERS, "item": ITEMS}

    found = measured(
        saved.signatures["serving_default"],
        (inputs, labels_of(recommender, inputs)),
        output="score",
    )

    assert found.metrics["accuracy"].value == 1


@pytest.fixture(scope="module")
def models(recommender: Any, saved: Any) -> dict[str, Any]:  # noqa: ANN401
    """Of two inputs each."""
    import keras

    in_order = keras.Model([recommender.input[name] for name in NAMED], recommender.output)
    signature = saved.signatures["serving_default"]
    return {"dict": recommender, "list": in_order, "saved": saved, "sign": signature}


NAMED = {"user": USERS, "item": ITEMS}
BY_NAME, IN_ORDER = "give a dict with these names", "give a tuple of as many arrays in this order"


@pytest.mark.parametrize(
    ("kind", "inputs", "given", "hint"),
    [
        *((kind, (USERS, ITEMS), "a tuple of 2", BY_NAME) for kind in ("dict", "saved", "sign")),
        *((kind, (USERS,) * 3, "a tuple of 3", BY_NAME) for kind in ("dict", "saved", "sign")),
        *((kind, {"user": USERS}, "user", BY_NAME) for kind in ("dict", "saved", "sign")),
        ("saved", {**NAMED, "day": USERS}, "user, item, day", BY_NAME),
        ("dict", USERS, "one array", BY_NAME),
        ("list", USERS, "one array", IN_ORDER),
        ("list", (USERS,) * 3, "a tuple of 3", IN_ORDER),
        ("list", {"user": USERS, "film": ITEMS}, "user, film", IN_ORDER),
    ],
)
def test_inputs_that_a_model_does_not_take(
    models: dict[str, Any],
    kind: str,
    inputs: Any,  # noqa: ANN401 - a tree
    given: str,
    hint: str,
) -> None:
    """What it takes, what was given and what to do, before the framework says it in its words."""
    with pytest.raises(UsageError) as caught:
        measured(models[kind], (inputs, None))

    taken, said, hinted = re.split("; |\n  ", str(caught.value), maxsplit=2)
    assert re.search(r"^(Keras model|SavedModel|signature of a SavedModel)", taken)
    assert re.search(r"takes the inputs (user, item|item, user)$", taken)
    assert said == f"the data has {given}"
    assert hinted.startswith(hint)


@pytest.mark.parametrize("inputs", [(USERS, ITEMS), NAMED, {"user": USERS}])
def test_a_model_of_one_input(inputs: Any) -> None:  # noqa: ANN401 - a tree
    """It takes an array, and is given several, or a dict with another name."""
    import keras

    model = keras.Sequential([keras.Input((), name="words"), keras.layers.Rescaling(2.0)])

    with pytest.raises(
        UsageError, match=r"takes one input \(\w+\); the data has .*\n  give one ar"
    ):
        measured(model, (inputs, None))


def test_the_only_output_of_a_saved_model_has_its_name(tmp_path: Path) -> None:
    """It may be chosen, and labels may have the name."""
    import keras
    import tensorflow as tf

    rows = keras.Input((4,))
    model = keras.Model(rows, {"score": keras.layers.Dense(1, activation="sigmoid")(rows)})
    model.export(str(tmp_path), verbose=False)
    inputs = RANDOM.random((300, 4)).astype(np.float32)
    labels = (np.asarray(model(inputs)["score"])[:, 0] > 0.5).astype(int)
    loaded = tf.saved_model.load(str(tmp_path))

    for target, given, output in (
        (model, {"score": labels}, None),
        (loaded, labels, "score"),
    ):
        found = measured(target, (inputs, given), output=output)
        assert found.metrics["accuracy"].value == 1


@pytest.mark.parametrize("names", [("score", "embedding"), ("score",)])
def test_a_function_has_no_labels_in_a_tree(recommender: Any, names: tuple[str, ...]) -> None:  # noqa: ANN401
    """None of them is said to be of what it returns: it is refused with what to give."""
    labels = dict.fromkeys(names, USERS)

    with pytest.raises(UsageError) as caught:
        measured(recommender, (NAMED, labels), output=lambda outputs: outputs["score"])

    assert f"output= is a function, and the labels are a tree ({', '.join(names)})" in str(
        caught.value
    )
    assert "give the one array of labels for what it returns, or name an output" in str(
        caught.value
    )


def test_rows_of_many_lengths() -> None:
    """One trace serves all lengths, and masked padding changes no answer."""
    import keras

    keras.utils.set_random_seed(0)
    texts = [RANDOM.integers(1, 50, RANDOM.integers(1, 20)) for _ in range(300)]
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = keras.Input((None,), dtype="int32", name="mask")
    embedded = keras.layers.Embedding(50, 8)(ids)
    weights = keras.ops.expand_dims(keras.ops.cast(mask, "float32"), -1)
    summed = keras.ops.sum(embedded * weights, axis=1)
    model = keras.Model(
        {"ids": ids, "mask": mask}, keras.layers.Dense(3, activation="softmax")(summed)
    )
    alone = [
        model({"ids": text[None].astype(np.int32), "mask": np.ones((1, len(text)), np.int32)})
        for text in texts
    ]
    labels = np.array([int(np.argmax(answer)) for answer in alone])

    found = measured(model, ({"ids": Ragged(texts, mask="mask")}, labels))

    assert found.metrics["accuracy"].value == 1
    assert not any("traced again" in note for note in found.notes)
    assert any(note.startswith("padding was") for note in found.notes)


TOKENS = [RANDOM.integers(1, 50, RANDOM.integers(1, 20)) for _ in range(200)]


@pytest.fixture(scope="module")
def tagger() -> Any:  # noqa: ANN401 - Keras has no types
    """Scores of five classes for each token, which its neighbours have a say in."""
    import keras

    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = keras.Input((None,), dtype="int32", name="mask")
    kept = keras.ops.expand_dims(keras.ops.cast(mask, "float32"), -1)
    embedded = keras.layers.Embedding(50, 8, embeddings_initializer="normal")(ids) * kept
    hidden = keras.layers.Conv1D(16, 3, padding="same", activation="relu")(embedded)
    return keras.Model(
        {"ids": ids, "mask": mask}, keras.layers.Dense(5, activation="softmax")(hidden)
    )


@pytest.mark.parametrize("grouped", [False, True], ids=["whole", "grouped"])
def test_a_label_for_each_token(tagger: Any, *, grouped: bool) -> None:  # noqa: ANN401
    """All are the model's own tags but for every tenth, however long the batches are."""
    ends = np.array([len(row) for row in TOKENS])
    mask = (np.arange(20) < ends[:, None]).astype(np.int32)
    ids = np.zeros((len(TOKENS), 20), np.int32)
    ids[mask == 1] = np.concatenate(TOKENS)
    tags = np.argmax(tagger({"ids": ids, "mask": mask}), axis=-1)[mask == 1]
    tags[::10] = (tags[::10] + 1) % 5
    inputs = {"ids": Ragged(TOKENS, lengths=(8, 20), mask="mask")}
    labels = Ragged(np.split(tags, np.cumsum(ends)[:-1]))

    found = measured(tagger, (inputs, labels), serving=Serving(16, group_by_length=grouped))

    assert found.errors == ()
    assert found.metrics["accuracy"].value == pytest.approx(1 - len(tags[::10]) / len(tags))
    assert found.metrics["loss"].value > 0


def test_ragged_tensors(tagger: Any) -> None:  # noqa: ANN401
    """A function of TensorFlow may answer with rows of their own lengths."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def tags(batch: Any) -> Any:  # noqa: ANN401
        lengths = tf.reduce_sum(batch["mask"], axis=1)
        return tf.RaggedTensor.from_tensor(tagger(batch), lengths)

    labels = Ragged([row % 5 for row in TOKENS])
    inputs = {"ids": Ragged(TOKENS, mask="mask")}

    padded, ragged = (measured(target, (inputs, labels)) for target in (tagger, tags))

    assert ragged.errors == ()
    assert ragged.metrics["accuracy"].value == padded.metrics["accuracy"].value


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"one": np.ones((9, 4)), "two": np.ones((9, 3))}, r"shape \(2,\) for two; .* \(3,\)"),
        ((np.ones((9, 5)), np.ones((9, 2))), r"shape \(4,\) for one; .* \(5,\)"),
    ],
)
def test_inputs_of_another_shape(inputs: Any, said: str) -> None:  # noqa: ANN401 - a tree
    """What it takes and what the data has, in a line; no frame of the framework is shown."""
    import keras

    one, two = keras.Input((4,), name="one"), keras.Input((2,), name="two")
    model = keras.Model([one, two], keras.layers.concatenate([one, two]))

    with pytest.raises(UsageError, match=said) as caught:
        measured(model, (inputs, None))
    assert caught.value.__cause__ is None


def test_shapes_that_keras_adjusts() -> None:
    """An axis of one is added or left out by Keras, and any length is any."""
    import keras

    numbers = keras.Input((), name="numbers")
    steps = keras.Input((None, 2), name="steps")
    pooled = keras.layers.GlobalAveragePooling1D()(steps)
    model = keras.Model([numbers, steps], [keras.ops.expand_dims(numbers, 1) * pooled])

    found = measured(model, ((np.ones(9), np.ones((9, 7, 2))), None))
    assert found.errors == ()
