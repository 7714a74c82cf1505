"""Language: how fast and how well titles of artworks are told apart by kind."""

import pytest
from text_classifier import Settings, build_model, load_works, train_model

from pytest_dlperf import ClosedLoop, Recipe, Server, Serving


@pytest.fixture(scope="module")
def works():
    """Artists and titles as numbers of words, with the kind of work."""
    return load_works()


@pytest.fixture(scope="module")
def classifier(works):
    """The classifier as it would be deployed."""
    return train_model(Settings.from_environment(), works.train)


@pytest.mark.dlperf("train.time <= 60s", "accuracy >= 60%")
def test_learning_titles(dlperf, works):
    """It must not take longer to learn, nor learn less."""
    dlperf.train(build_model, works, recipe=Recipe(epochs=5))


@pytest.mark.dlperf(
    "throughput >= 0.7 * baseline",
    "p99 <= 3 * baseline",
    "accuracy >= 60%",
    "accuracy >= baseline - 1pt",
    scenario=ClosedLoop(clients=64),
    serving=Serving(max_batch_size=64),
)
def test_titles(dlperf, classifier, works):
    """64 clients that ask again as soon as they are answered, and get the right answers."""
    dlperf(classifier, works.test)


@pytest.mark.dlperf("p99 <= 50ms", scenario=Server(rate=1000))
def test_titles_arriving(dlperf, classifier, works):
    """Requests that arrive by themselves."""
    dlperf(classifier, works.test)
