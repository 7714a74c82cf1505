"""Recommendation: how fast films are recommended, and how often the next one is among them."""

import pytest
from film_recommender import Settings, build_model, load_views, train_model

from pytest_dlperf import ClosedLoop, Recipe, Server, Serving


@pytest.fixture(scope="module")
def views():
    """What people watched, and what they watched next."""
    return load_views()


@pytest.fixture(scope="module")
def recommender(views):
    """The recommender as it would be deployed."""
    return train_model(Settings.from_environment(), views.train)


@pytest.mark.dlperf("train.time <= 120s", "hit_rate10 >= 10%")
def test_learning_films(dlperf, views):
    """It must not take longer to learn, nor learn less."""
    dlperf.train(build_model, views, recipe=Recipe(epochs=4, batch_size=512))


@pytest.mark.dlperf(
    "throughput >= 0.7 * baseline",
    "p99 <= 3 * baseline",
    "hit_rate10 >= 10%",
    "ndcg10 >= baseline - 1pt",
    scenario=ClosedLoop(clients=64),
    serving=Serving(max_batch_size=64),
)
def test_films(dlperf, recommender, views):
    """64 people who ask again as soon as they are answered, and get good lists."""
    dlperf(recommender, views.test)


@pytest.mark.dlperf("p99 <= 50ms", scenario=Server(rate=500))
def test_films_arriving(dlperf, recommender, views):
    """Requests that arrive by themselves."""
    dlperf(recommender, views.test)
