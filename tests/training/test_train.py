"""Train: what a training is measured to be, and what its budgets make of that."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.data.scoring import metric
from pytest_dlperf.errors import DataError, TrainingError, UsageError
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.ragged import Ragged
from pytest_dlperf.results.record import Record, record_from_json, record_to_json
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.training.job import training_job
from pytest_dlperf.training.recipe import Recipe
from pytest_dlperf.training.train import training

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.load.answer_layout import Output
    from pytest_dlperf.results.measurement import Measurement

pytestmark = pytest.mark.tensorflow

_RANDOM = np.random.default_rng(0)
INPUTS = _RANDOM.random((400, 4)).astype(np.float32)
LABELS = INPUTS[:, :3].argmax(axis=1)
DATA = Split(Examples(INPUTS[:300], LABELS[:300]), Examples(INPUTS[300:], LABELS[300:]))
QUICKLY = Recipe(4, optimizer="adam", learning_rate=0.05, batch_size=30)


@metric(name="sure_of_it", detect=0.05)
def sure_of_it(outputs: Any, labels: Any) -> Any:  # noqa: ANN401 - arrays
    """The share that the right class has."""
    return outputs[np.arange(len(labels)), labels]


def classifier() -> object:
    """Softmax regression."""
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def measured(  # noqa: PLR0913 - as a user gives them
    *budgets: str,
    build: Callable[[], object] = classifier,
    data: object = DATA,
    test: object = None,
    recipe: Recipe | None = QUICKLY,
    seeds: int = 1,
    quick: bool = False,
    output: Output | None = None,
) -> Measurement:
    """Train as a test with these budgets does."""
    the_plan = plan([Options(budgets=budgets, quick=quick, output=output)])
    instruments = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    with training(
        training_job(build, data, test, recipe, seeds, ()), the_plan, instruments
    ) as prepared:
        assert prepared.slots() is None
        return prepared.measure("t", "", 1.0)


def test_what_is_measured() -> None:
    """Every figure of a training, on the test rows where answers are concerned."""
    goal = "train.time_to_accuracy(70%)"

    measurement = measured(f"{goal} <= 60s", "sure_of_it >= 10%")

    assert set(measurement.metrics) == {
        *("train.time", "train.throughput", "train.peak_memory", "compile_time"),
        *("accuracy", "loss", "errors", goal, "sure_of_it"),
    }
    assert measurement.rows is not None
    assert len(measurement.rows.right) == 100
    assert measurement.accuracy == measurement.rows.right.mean()
    assert measurement.scores is not None
    kept = measurement.scores.scores["sure_of_it"].mean()
    assert measurement["sure_of_it"].value == pytest.approx(kept, rel=1e-3)
    assert measurement["train.peak_memory"].value == 1 << 20
    assert measurement[goal].value <= measurement["train.time"].value
    assert measurement.requests == 4 * 10
    assert measurement.scenario == (
        "train(epochs=4, batch_size=30, optimizer=adam, learning_rate=0.05)"
    )
    assert measurement.target.endswith(", 15 parameters")
    assert not any("training rows" in note for note in measurement.notes)


def test_without_test_rows() -> None:
    """Those that it learns from are asked, and the measurement says so."""
    measurement = measured(data=(INPUTS, LABELS))

    assert measurement.rows is not None
    assert len(measurement.rows.right) == 400
    assert any("those of the training rows" in note for note in measurement.notes)


def test_as_it_was_compiled() -> None:
    """Without a recipe: five epochs of batches of 32, as Keras has it."""
    measurement = measured(recipe=None)

    assert measurement.scenario == "train(epochs=5)"
    assert measurement.requests == 5 * 10


def test_a_goal_that_is_not_reached_fails() -> None:
    """A budget on the time to an accuracy that the model never has is broken, and says why."""
    budget = "train.time_to_accuracy(100%) <= 60s"

    measurement = measured(budget, recipe=Recipe(1, optimizer="sgd", learning_rate=1e-6))

    (judgement,) = judge(measurement, [parse_budget(budget)], None, ENVIRONMENT, "")
    assert judgement.verdict is Verdict.FAIL
    assert "never reached" in judgement.reason
    read_back = record_from_json(record_to_json(Record(measurement, (judgement,), (), quick=False)))
    assert read_back.measurement.missed == measurement.missed


def test_several_seeds() -> None:
    """The mean of their accuracies, each of them kept; no rows, as they differ by seed."""
    measurement = measured(seeds=3)

    assert len(set(measurement.seeds)) > 1
    assert measurement.accuracy == pytest.approx(np.mean(measurement.seeds))
    assert measurement.rows is None
    assert measurement.requests == 3 * 4 * 10
    assert measurement.scenario.endswith(", seeds=3)")
    assert "over 3 seeds" in measurement.intervals
    assert not any("seed" in note for note in measurement.notes)


def test_a_builder_with_a_seed_of_its_own() -> None:
    """Seeds that differ in nothing, or by the order of rows only, are told of."""
    import keras

    def build() -> object:
        keras.utils.set_random_seed(5)
        return classifier()

    order = measured(build=build, seeds=2, recipe=Recipe(1))
    same = measured(build=build, seeds=2, recipe=Recipe(2, optimizer="gradient_descent"))

    assert any("the same first weights from different seeds" in note for note in order.notes)
    assert any("gave the same model to the bit" in note for note in same.notes)


def test_a_smoke_run() -> None:
    """One epoch of a few batches, from one seed, and the measurement says so."""
    measurement = measured(recipe=Recipe(50, batch_size=10), seeds=3, quick=True)

    assert measurement.requests == 8
    assert measurement.scenario == "train(epochs=1, batch_size=10)"
    assert any("smoke run: 1 epoch of 80 rows" in note for note in measurement.notes)


def test_a_regression() -> None:
    """It has a loss, and no accuracy; a budget on that is refused before it is trained."""

    def build() -> object:
        import keras

        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(loss="mse", optimizer="adam")
        return model

    data = (INPUTS, INPUTS.sum(axis=1, keepdims=True))

    measurement = measured(build=build, data=data, recipe=Recipe(1))
    assert measurement.loss > 0
    assert "accuracy" in measurement.refused
    with pytest.raises(UsageError, match="are a regression, which has no accuracy"):
        measured("accuracy >= 50%", build=build, data=data, recipe=Recipe(10**6))


def test_a_training_that_diverges() -> None:
    """An error with the epoch and the settings, and no measurement."""
    with pytest.raises(TrainingError, match=r"epoch \d of 9"):
        measured(
            recipe=Recipe(9, optimizer="sgd", learning_rate=1e9),
            data=(INPUTS * np.float32(1e30), LABELS),
        )


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({"build": 3}, UsageError, "build=int builds no model"),
        ({"recipe": {"epochs": 3}}, UsageError, r"expected a Recipe\(...\)"),
        ({"seeds": 0}, UsageError, "seeds=0"),
        ({"data": (INPUTS, None)}, DataError, "training needs labels"),
        ({"data": (INPUTS, LABELS[:3])}, DataError, "400 rows of inputs, but 3 labels"),
        ({"test": (INPUTS[:, :2], LABELS)}, DataError, r"test rows of shape \(2,\)"),
        ({"data": (INPUTS[:, :2], LABELS)}, UsageError, r"takes rows of shape \(4,\)"),
        ({"data": (INPUTS, LABELS + 5)}, DataError, "is no class of a target with 3 scores"),
    ],
)
def test_what_makes_no_sense(
    arguments: dict[str, Any], error: type[Exception], problem: str
) -> None:
    """Said in words, before anything is trained."""
    with pytest.raises(error, match=problem):
        measured(**arguments)


def test_a_model_is_no_builder() -> None:
    """Whoever gives the model itself is told to give the function."""
    with pytest.raises(UsageError, match="give the function that builds and compiles the model"):
        measured(build=classifier())  # type: ignore[arg-type]  # the mistake


def test_a_training_is_not_traced() -> None:
    """Neither the model's construction nor its steps; and the note says what was suspended."""
    seen: set[object] = set()

    def tracer(*_: object) -> None:
        """Trace nothing."""

    def build() -> object:
        seen.add(sys.gettrace())
        return classifier()

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        notes = measured(build=build).notes
        after = sys.gettrace()
    finally:
        sys.settrace(before)

    assert seen == {None}
    assert after is tracer
    assert f"{__name__.partition('.')[0]} was suspended while measuring" in notes


def test_several_inputs() -> None:
    """Trees are learnt from; labels of outputs that there are not are refused."""
    import keras

    def build() -> object:
        left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
        both = keras.layers.concatenate([left, right])
        outputs = keras.layers.Dense(3, activation="softmax")(both)
        model = keras.Model({"left": left, "right": right}, outputs)
        model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    parts = {"left": INPUTS[:, :2], "right": INPUTS[:, 2:]}
    test = ({name: part[:100] for name, part in parts.items()}, LABELS[:100])

    together = measured(build=build, data=(parts, LABELS), test=test)
    alone = measured(data=(INPUTS, LABELS), test=(INPUTS[:100], LABELS[:100]))

    assert together.accuracy == pytest.approx(alone.accuracy, abs=0.1)
    assert measured(build=build, data=(parts, LABELS), quick=True).errors == ()
    with pytest.raises(UsageError, match="labels for a, b, but the model answers one array"):
        measured(build=build, data=(parts, {"a": LABELS, "b": LABELS}))
    with pytest.raises(DataError, match="test rows of shape"):
        measured(build=build, data=(parts, LABELS), test=(INPUTS, LABELS))


SUMS = INPUTS.sum(axis=1, keepdims=True)


def _two_outputs(form: str) -> Callable[[], object]:
    """A builder of a model that answers the class and the sum, as a list or a dict."""

    def build() -> object:
        import keras

        rows = keras.Input((4,))
        kind = keras.layers.Dense(3, activation="softmax", name="kind")(rows)
        total = keras.layers.Dense(1, name="total")(rows)
        outputs = {"kind": kind, "total": total} if form == "dict" else [kind, total]
        model = keras.Model(rows, outputs)
        losses = {"kind": "sparse_categorical_crossentropy", "total": "mse"}
        model.compile(loss=losses if form == "dict" else list(losses.values()))
        return model

    return build


@pytest.mark.parametrize(
    ("form", "labels", "output"),
    [
        ("dict", {"kind": LABELS, "total": SUMS}, "kind"),
        ("list", {"kind": LABELS, "total": SUMS}, "kind"),
        ("list", (LABELS, SUMS), "0"),
    ],
)
def test_several_outputs(form: str, labels: Any, output: str) -> None:  # noqa: ANN401 - a tree
    """Each is learnt by its loss; the chosen one is scored, after each epoch too."""
    goal = "train.time_to_accuracy(70%)"

    measurement = measured(
        f"{goal} <= 60s", build=_two_outputs(form), data=(INPUTS, labels), output=output
    )

    assert measurement.accuracy > 0.7
    assert measurement[goal].value > 0
    assert measurement.rows is not None
    assert not any("left out" in note for note in measurement.notes)


def test_another_output_is_chosen() -> None:
    """A regression has a loss only: that of the output, not of the whole model."""
    measurement = measured(
        build=_two_outputs("dict"), data=(INPUTS, {"kind": LABELS, "total": SUMS}), output="total"
    )

    assert "accuracy" not in measurement.metrics
    assert measurement["loss"].value < 2


@pytest.mark.parametrize("output", [None, lambda outputs: outputs["kind"]])
def test_no_output_is_chosen(output: Output | None) -> None:
    """Speed is measured; a budget on accuracy says what is missing."""
    data = (INPUTS, {"kind": LABELS, "total": SUMS})
    build = _two_outputs("dict")

    measurement = measured(build=build, data=data, output=output, recipe=Recipe(1))

    assert {"accuracy", "loss"}.isdisjoint(measurement.metrics)
    assert any("name one of the outputs (kind, total)" in note for note in measurement.notes)
    with pytest.raises(UsageError, match="output"):
        measured("accuracy >= 50%", build=build, data=data, output=output)


def test_labels_of_other_outputs() -> None:
    """They are told apart before Keras does, by their names; and in the two parts of the data."""
    labels = {"kind": LABELS, "sum": SUMS}
    with pytest.raises(UsageError, match="labels for kind, sum, but the model answers kind, total"):
        measured(build=_two_outputs("dict"), data=(INPUTS, labels))
    with pytest.raises(DataError, match="labels for one output, but it learns from labels for kin"):
        measured(build=_two_outputs("dict"), data=(INPUTS, labels), test=(INPUTS, LABELS))


def _tagger() -> object:
    """A class for each token, by nothing but how often it is."""
    import keras

    model = keras.Sequential(
        [keras.Input((None, 1)), keras.layers.Dense(3, activation="softmax", name="tag")]
    )
    model.compile(loss="sparse_categorical_crossentropy")
    return model


LONGER = Recipe(9, optimizer="adam", learning_rate=0.3)


@pytest.mark.parametrize("pad", [0, -100])
def test_a_label_for_each_position(pad: int) -> None:
    """Padding is not learnt, though most positions are: real ones are all of class 2."""
    lengths = [1, 1, 1, 1, 30, 1, 1, 1]
    tokens = Ragged([np.zeros((length, 1), np.float32) for length in lengths], lengths=(8, 40))
    tags = Ragged([np.full(length, 2) for length in lengths], pad=pad)

    measurement = measured(build=_tagger, data=(tokens, tags), recipe=LONGER)

    assert measurement.accuracy == 1
    assert measurement["loss"].value < 0.7
    assert measurement.rows is not None
    assert measurement.rows.positions is not None
    assert measurement.rows.positions.tolist() == [1, 30], "the rows of one content are one"


def test_labels_longer_than_their_rows() -> None:
    """An error of the data, before the training."""
    tokens = Ragged([np.zeros((3, 1), np.float32)] * 4)
    with pytest.raises(DataError, match="row 0"):
        measured(build=_tagger, data=(tokens, Ragged([[0] * 5] * 4)))
