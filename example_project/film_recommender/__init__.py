"""A small recommender of films."""

from film_recommender.data import Split, Views, load_views
from film_recommender.model import build_model, train_model
from film_recommender.pairs import load_pairs, train_pair_model
from film_recommender.ranking import gains, hits, ranks
from film_recommender.settings import Settings

__all__ = [
    "Settings",
    "Split",
    "Views",
    "build_model",
    "gains",
    "hits",
    "load_pairs",
    "load_views",
    "ranks",
    "train_model",
    "train_pair_model",
]
