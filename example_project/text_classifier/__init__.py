"""A small classifier of titles of artworks by kind."""

from text_classifier.data import Split, Works, load_works
from text_classifier.kinds import KINDS
from text_classifier.model import build_model, train_model
from text_classifier.settings import Settings
from text_classifier.titles import (
    TitleNumbers,
    build_masked_model,
    load_titles,
    train_title_model,
)

__all__ = [
    "KINDS",
    "Settings",
    "Split",
    "TitleNumbers",
    "Works",
    "build_masked_model",
    "build_model",
    "load_titles",
    "load_works",
    "train_model",
    "train_title_model",
]
