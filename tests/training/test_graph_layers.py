"""Fronts as values: checked when built, and written as they are called."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.errors import UsageError
from pytest_dlperf.training.graph_layers import Augmentation, InGraphNormalisation

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.training.graph_layers import GraphLayer


@pytest.mark.parametrize(
    ("front", "text"),
    [
        (Augmentation.image(shift=0.1), "Augmentation.image(shift=0.1)"),
        (
            Augmentation.image(rotation=0.05, zoom=0.1, shape=[8, 8]),
            "Augmentation.image(rotation=0.05, zoom=0.1, shape=(8, 8))",
        ),
        (Augmentation.text(dropout=0.2), "Augmentation.text(dropout=0.2)"),
        (Augmentation.text(dropout=0.2, unknown=0), "Augmentation.text(dropout=0.2, unknown=0)"),
        (Augmentation.noise(deviation=1), "Augmentation.noise(deviation=1.0)"),
    ],
)
def test_an_augmentation_reads_as_it_is_written(front: Augmentation, text: str) -> None:
    """Its text is code that makes it again; copies sent to other processes are equal."""
    assert str(front) == repr(front) == text
    assert eval(text, {"Augmentation": Augmentation}) == front  # noqa: S307 - our own text
    assert pickle.loads(pickle.dumps(front)) == front  # noqa: S301 - our own bytes


def test_text_of_normalisation_in_the_graph() -> None:
    """It is another thing than normalisation ahead of time, and says so."""
    front: GraphLayer = InGraphNormalisation("min-max")

    assert str(front) == "InGraphNormalisation(kind=min-max)"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Augmentation, "Augmentation(...) does not say of what"),
        (Augmentation.image, "Augmentation.image() changes nothing"),
        (lambda: Augmentation.image(shift=1.0), "image(shift)=1.0"),
        (lambda: Augmentation.image(zoom=-0.1), "image(zoom)=-0.1"),
        (lambda: Augmentation.image(rotation=True), "image(rotation)=True"),
        (lambda: Augmentation.image(shift=0.1, shape=(64,)), "shape=(64,))"),
        (lambda: Augmentation.image(shift=0.1, shape=(8, 0)), "image(shape)=0"),
        (lambda: Augmentation.text(dropout=0.0), "text(dropout)=0.0"),
        (lambda: Augmentation.text(dropout=0.1, unknown=-1), "text(unknown=-1)"),
        (lambda: Augmentation.text(dropout=0.1, unknown=2**24 + 1), "text(unknown=16777217)"),
        (lambda: Augmentation.noise(deviation=0), "noise(deviation)=0"),
        (lambda: InGraphNormalisation("max"), "InGraphNormalisation(kind)='max'"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], said: str) -> None:
    """When it is written, not when a model is trained with it."""
    with pytest.raises(UsageError) as refused:
        make()

    assert said in str(refused.value)
