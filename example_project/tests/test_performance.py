"""Image recognition: how fast and how good the classifier is when many ask it at once."""

import pytest
from digits_classifier import Settings, load_digits, train_model

from pytest_dlperf import ClosedLoop, Offline, Server, Serving


@pytest.fixture(scope="module")
def digits():
    """Training and test images."""
    return load_digits()


@pytest.fixture(scope="module")
def classifier(digits):
    """The classifier as it would be deployed."""
    return train_model(Settings.from_environment(), digits.train)


@pytest.mark.dlperf(
    "throughput >= 0.8 * baseline",
    "p99 <= 3 * baseline",
    scenario=ClosedLoop(clients=64),
    serving=Serving(max_batch_size=64),
)
def test_closed_loop(dlperf, classifier, digits):
    """64 clients that ask again as soon as they are answered."""
    dlperf(classifier, digits.test)


@pytest.mark.dlperf("p99 <= 50ms", scenario=Server(rate=2000))
def test_open_loop(dlperf, classifier, digits):
    """Requests that arrive by themselves, whether or not the answers keep up."""
    dlperf(classifier, digits.test)


@pytest.mark.dlperf("accuracy >= 90%", "accuracy >= baseline - 1pt")
def test_accuracy(dlperf, classifier, digits):
    """Speed must not be bought with wrong answers."""
    dlperf(classifier, digits.test)


@pytest.mark.dlperf(scenario=Offline())
def test_full_batches(dlperf, classifier, digits):
    """What it can do at the most. Without budgets, it must lose nothing against another commit."""
    dlperf(classifier, digits.test)
