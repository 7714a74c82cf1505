"""Tuning: what would make each of the three faster, and what that would cost.

A study takes minutes, so that `pytest` leaves these tests out; `pytest-dlperf tune` runs them.
"""

import digits_classifier
import film_recommender
import pytest
import text_classifier

from pytest_dlperf import ClosedLoop, Recipe, Serving, Setup, knobs

UNDER_LOAD = pytest.mark.dlperf(scenario=ClosedLoop(clients=64), serving=Serving(max_batch_size=64))


@UNDER_LOAD
@pytest.mark.dlperf_sweep(
    "maximize throughput",
    "accuracy >= baseline - 0.5pt",
    knobs=("units", "layers", "max_batch_size", "runtime"),
    trials=20,
)
def test_tune_images(dlperf):
    """More digits a second; half of them are held back, so that small losses show."""
    dlperf.tune(digits_classifier.build_model, digits_classifier.load_digits(test_share=0.5))


@UNDER_LOAD
@pytest.mark.dlperf_sweep(
    "maximize throughput",
    "accuracy >= baseline - 1pt",
    knobs=(knobs.argument("embedding", 128, 64, 32), "units", "batch_size", "runtime"),
    trials=20,
)
def test_tune_language(dlperf):
    """More titles a second."""
    dlperf.tune(text_classifier.build_model, text_classifier.load_works(test_share=0.5))


@UNDER_LOAD
@pytest.mark.dlperf_sweep(
    "maximize throughput",
    "hit_rate10 >= baseline - 1pt",
    "p99 <= 50ms",
    knobs=(knobs.argument("embedding", 64, 32, 16), "units", "layers", "runtime"),
    trials=20,
)
def test_tune_recommendation(dlperf):
    """More lists of films a second."""
    dlperf.tune(
        film_recommender.build_model,
        film_recommender.load_views(),
        setup=Setup(recipe=Recipe(epochs=4, batch_size=512), serving=Serving(max_batch_size=64)),
    )
