"""A small classifier of titles of artworks by kind."""

from text_classifier.data import Split, Works, load_works
from text_classifier.kinds import KINDS
from text_classifier.model import build_model, train_model
from text_classifier.settings import Settings

__all__ = ["KINDS", "Settings", "Split", "Works", "build_model", "load_works", "train_model"]
