"""Image recognition: learning the digits, by a hidden layer and by convolutions."""

import keras
import pytest
from digits_classifier import build_convolutional, build_model, load_digits

from pytest_dlperf import ClosedLoop, Recipe, Serving


@pytest.fixture(scope="module")
def digits():
    """Training and test images."""
    return load_digits()


@pytest.fixture(scope="module")
def convolutional(digits):
    """The convolutional network; as its images are moved around, it learns for longer."""
    keras.utils.set_random_seed(7)
    model = build_convolutional()
    model.fit(digits.train.inputs, digits.train.labels, epochs=10, verbose=0)
    return model


@pytest.mark.dlperf("train.time_to_accuracy(90%) <= 30s", "accuracy >= 90%")
def test_learning_digits(dlperf, digits):
    """It must not take longer to learn."""
    dlperf.train(build_model, digits, recipe=Recipe(epochs=5))


@pytest.mark.dlperf(
    "throughput >= 0.7 * baseline",
    "accuracy >= 92%",
    scenario=ClosedLoop(clients=64),
    serving=Serving(max_batch_size=64),
)
def test_convolutional(dlperf, convolutional, digits):
    """The convolutional network under the same load."""
    dlperf(convolutional, digits.test)
